"""vcb config: what belongs to the configuration and its secrets."""

from cyclopts import App

config = App(name="config", help="The configuration file, and the password that belongs to it.")
config.command(
    "tui.cli.password_command:password",
    name="password",
    help="Keep the password in the keyring or in a file of mode 0600.",
)
