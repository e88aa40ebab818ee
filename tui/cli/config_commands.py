"""vcb config: the configuration file looked at, changed in safety, and the password that belongs to it."""

from cyclopts import App

_COMMANDS = {
    "check": ("config_reading:check", "Tell everything that is wrong or odd, with file, line and column."),
    "show": ("config_reading:show", "Show the settings in effect, and where each comes from."),
    "set": ("config_writing:set_options", "Change options in a file; nothing else in it changes."),
    "repair": ("config_writing:repair", "Make the repairs that check offers."),
    "diff": ("config_reading:diff", "Compare two files option by option, or a file with its last saved version."),
    "convert": ("config_writing:convert", "Write a config.js as TOML, or TOML as config.js."),
    "history": ("config_reading:history", "List the saved versions of a file."),
    "undo": ("config_writing:undo", "Take the last save back."),
    "redo": ("config_writing:redo", "Take an undo back."),
    "forget": ("config_writing:forget", "Remove the kept earlier versions of a file."),
    "test": ("config_test_command:try_connection", "Try the connection: certificate, login, version, privileges."),
    "password": ("password_command:password", "Keep the password in the keyring or in a file of mode 0600."),
}

config = App(name="config", help="The configuration file, and the password that belongs to it.")
for _order, (_name, (_target, _text)) in enumerate(_COMMANDS.items()):
    config.command(f"tui.cli.{_target}", name=_name, help=_text, sort_key=_order)
