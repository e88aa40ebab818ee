"""vcb-console's engine: the backup flow as a library. Prints nothing, asks nothing, knows no terminal."""

__version__ = "0.1.0"
