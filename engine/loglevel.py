"""LOGLEVEL 0-6: what each level records.

The level of a record says who needs it; a configured LOGLEVEL of N keeps the records of levels 0..N.
"""

from enum import IntEnum


class LogLevel(IntEnum):
    """VCB's seven levels, each with one meaning."""

    FATAL = 0
    """A failure that ends a job."""
    ERROR = 1
    """Something failed; the job may go on."""
    WARNING = 2
    """Worth an operator's look; the result stands."""
    STAGE = 3
    """Stages and results (VCB's default)."""
    STEP = 4
    """Each step and decision, with its reason."""
    API = 5
    """API calls, tasks, extents."""
    WIRE = 6
    """Wire traffic, redacted."""


DEFAULT_LOGLEVEL = LogLevel.STAGE
