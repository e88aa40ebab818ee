"""What the pane "Configuration" offers: its commands, their keys, their help."""

from tui.commands import Command

FORM_ONLY = frozenset({"edit", "cycle", "reset", "filter", "help"})
"""Of these the keys are letters to type elsewhere: in the text, and in a line that is asked for."""
NEEDS_FILE = FORM_ONLY | {"raw", "save", "undo", "redo", "next_finding", "repair", "history", "password", "test"}

COMMANDS: tuple[Command, ...] = (
    Command("config.edit", "Edit the option", "Changes the value of the option under the cursor: a line to type in,"
            " or the allowed words with what each means here.", ("enter", "e"), footer="Edit"),
    Command("config.cycle", "Next word", "Takes the next allowed word of an option that has a fixed list.",
            ("space",)),
    Command("config.help", "About the option", "Shows everything about the option under the cursor.", ("h",),
            footer="About"),
    Command("config.save", "Save the configuration", "Shows what will change in the file, and saves it when you say"
            " so.", ("s", "f8", "ctrl+s"), footer="Save"),
    Command("config.raw", "Form or text", "Switches between the form and the file as text; both show the same"
            " edits.", ("r", "f5"), footer="Text"),
    Command("config.undo", "Undo", "Takes the last change back; before the first one, goes to the version saved"
            " before this one.", ("u", "f9"), footer="Undo"),
    Command("config.redo", "Redo", "Takes an undo back.", ("ctrl+r",)),
    Command("config.filter", "Filter options", "Shows the options whose name or section has these words.",
            ("slash",), footer="Filter"),
    Command("config.next_finding", "Next finding", "Goes to the next option or line with an error, a warning or a"
            " note.", ("n", "ctrl+n")),
    Command("config.repair", "Repair", "Makes the repair that is offered for the option or line under the cursor:"
            " only where one thing can have been meant.", ("x",)),
    Command("config.reset", "Back to the default", "Takes the option out of the file, so that its default counts.",
            ("d", "delete")),
    Command("config.test", "Test the connection", "Connects to HOST with the values as they stand here: certificate"
            ", login, version, privileges. Nothing is changed.", ("t",), footer="Test"),
    Command("config.password", "Store the password", "Asks for the password, unseen, and keeps it in the keyring or"
            " in a file of mode 0600.", ("p",)),
    Command("config.history", "Earlier versions", "Lists the saved versions of the file, with what each changed;"
            " any of them can be taken back into the editor.", ("v",)),
    Command("config.files", "Configuration files", "Opens another configuration file, or makes one from a sample or"
            " as a copy.", ("f",)),
)  # fmt: skip
