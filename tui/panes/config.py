"""The pane "Configuration": the option table as a form, and the file as text, over one document."""

import os
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.config.finding import Finding
from engine.config.option_types import ChoiceListOption, ChoiceOption
from engine.config.options import OPTIONS
from engine.errors import VcbError
from tui.commands import Command
from tui.models.open_config import OpenConfig
from tui.models.option_form import Row, about, choices, edit_text, rows
from tui.panes.config_acts import ConfigActs
from tui.screens.choose import ChooseScreen
from tui.screens.option_help import OptionHelpScreen
from tui.widgets.config_text import ConfigText
from tui.widgets.option_rows import OptionRows

_DRAFT_AFTER = 0.4
"""Seconds of rest after which what is typed is kept as a draft."""
_STYLES = {
    "error": "bold $state-error", "warning": "$state-warning", "note": "$state-note", "fix": "$muted",
    "repair": "$accent", "help": "", "allowed": "", "cost": "$muted", "origin": "$muted",
}  # fmt: skip
_MARKS = {"error": "x ", "warning": "! ", "note": "i ", "fix": "> ", "repair": "> "}
_FORM_ONLY = frozenset({"edit", "cycle", "reset", "filter", "help", "leave_filter"})
_NEEDS_FILE = frozenset({"edit", "cycle", "reset", "filter", "help", "raw", "save", "undo", "redo", "next_finding",
                         "repair", "history", "password", "test"})  # fmt: skip


class ConfigPane(ConfigActs):
    pane_id = "config"
    pane_title = "Configuration"
    purpose = (
        "The options of the configuration file, what each means here, and what is wrong with them. x marks an error, "
        "! a warning, i a note, * what is not saved yet. Nothing is written before s has shown the difference; what is "
        "not saved when you leave is back the next time."
    )
    commands: ClassVar[tuple[Command, ...]] = (
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
    DEFAULT_CSS = """
    ConfigPane { layout: vertical; }
    ConfigPane #config_about { height: 35%; min-height: 3; max-height: 10; padding: 0 1; background: $surface; }
    ConfigPane #config_entry { height: 1; border: none; padding: 0 1; background: $panel; }
    ConfigPane #config_entry:focus { border: none; background: $panel; }
    ConfigPane .off { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._rows = OptionRows()
        self._text = ConfigText()
        self._entry = Input(id="config_entry", classes="off", compact=True)
        self._about = Static(id="config_about")
        self._entry_for = ""
        self._wanted = ""
        self._raw = False
        self._unreadable = ""
        self._resting: Timer | None = None

    def compose(self) -> ComposeResult:
        self._text.add_class("off")
        yield self._rows
        yield self._text
        yield self._entry
        yield self._about

    def on_mount(self) -> None:
        path = self.app.document_path
        if path is None:
            self._rows.add_class("off")
            self._about.update(Content("There is no configuration file yet. Press f to make one, or to open one."))
        else:
            self.open_file(path)

    def on_unmount(self) -> None:
        self._keep_draft_now()

    def focus_target(self) -> Widget:
        if self.config is None:
            self._rows.remove_class("off")
        return self._text if self._raw else self._rows

    def save_state(self) -> dict[str, Any]:
        return {"raw": self._raw, "option": self._rows.current.name if self._rows.current else ""}

    def restore_state(self, state: dict[str, Any]) -> None:
        if self.config is not None and isinstance(name := state.get("option"), str):
            self._rows.go_to(name)
        if self.config is not None and state.get("raw") is True and not self._raw:
            self._show_raw(True)

    def why_not(self, command: Command) -> str:
        name = command.id.partition(".")[2]
        if self.config is None and name in _NEEDS_FILE:
            return self._unreadable or "There is no configuration file open; f opens or makes one."
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the form mean nothing in the text and in a line that is typed."""
        if action == "command" and parameters and isinstance(parameters[0], str):
            name = parameters[0].partition(".")[2]
            if (self._raw or self._entry_for) and name in _FORM_ONLY:
                return False
        return super().check_action(action, parameters)

    def open_file(self, path: Path) -> bool:
        self._keep_draft_now()
        try:
            self.config = OpenConfig(path, os.environ)
        except VcbError as error:
            self._unreadable = str(error)
            self.complain(error)
            return False
        self.app.adopt(self.config.settings, path)
        self._rows.remove_class("off")
        draft = self.config.take_up_draft()
        self.config_changed()
        if draft is not None:
            told = f"Unsaved changes of {draft.at.astimezone():%Y-%m-%d %H:%M} are back. s saves them, u drops them."
            lost = " The password typed then was not kept." if draft.lost else ""
            self.app.notify(told + lost, title=path.name, timeout=12)
        broken = next((f for f in self.config.document.findings() if f.severity == "error"), None)
        if broken is not None:
            self._show_raw(True)
            self._text.go_to_line(broken.line)
        return True

    def config_changed(self) -> None:
        config = self.config
        assert config is not None
        self._text.kind = config.document.kind
        if self._text.document.text != (text := "\n".join(config.lines)):
            place = self._text.cursor_location
            self._text.load_text(text)
            self._text.move_cursor(place)
        self.show_findings()
        self.look_at_machine()
        self._rest()

    def show_findings(self) -> None:
        config = self.config
        assert config is not None
        self._rows.show(rows(config, self._wanted))
        self._text.show_findings([f for f in config.findings if f.file in ("", config.document.file)])
        errors = sum(finding.severity == "error" for finding in config.findings)
        told = [config.path.name]
        if errors:
            told.append("1 error" if errors == 1 else f"{errors} errors")
        if config.changed:
            told.append("* not saved")
        self.note = ", ".join(told)
        self._show_about()

    # -- what stands below the rows

    def on_option_rows_moved(self) -> None:
        self._show_about()
        self.post_message(self.StateChanged())

    def on_option_rows_chosen(self) -> None:
        self.action_edit()

    def _show_about(self, trial: str | None = None) -> None:
        config = self.config
        if config is None:
            return
        if self._raw:
            self._about.update(self._about_line())
            return
        row = self._rows.current
        if row is None:
            self._about.update(Content("No option has these words in its name."))
            return
        if trial is not None and row.name == self._entry_for:
            option = OPTIONS[row.name]
            said = [("error" if config.is_bad(row.name, self._entry.value) else "warning", trial)] if trial else []
            allowed = f"Allowed: {option.allowed}. Enter takes it, Esc leaves it as it was."
            self._about.update(_content([*said, ("allowed", allowed)]))
            return
        said = about(config, row)
        self._about.update(_content(said if self.size.height > 14 else said[:2]))

    def _about_line(self) -> Content:
        assert self.config is not None
        line = self._text.cursor_location[0] + 1
        here = [finding for finding in self.config.findings if finding.line == line]
        if here:
            row = Row("", findings=tuple(here), name=here[0].options[0] if here[0].options else "")
            said = about(self.config, row) if row.name in OPTIONS else [(f.severity, f.text) for f in here]
            return _content(said[:3])
        errors = sum(finding.severity == "error" for finding in self.config.findings)
        count = {0: "No errors.", 1: "1 error; ^N goes there."}.get(errors, f"{errors} errors; ^N goes to the next.")
        return Content(f"Line {line}. {count} Esc: back to the form.")

    # -- form

    def action_edit(self) -> None:
        row = self._rows.current
        if row is None or self.config is None:
            return
        option = OPTIONS[row.name]
        if option.secret:
            self.action_password()
        elif isinstance(option, (ChoiceOption, ChoiceListOption)):
            self._choose(option)
        else:
            self._ask_line(row.name, edit_text(self.config, row.name), f"{row.name} = ")

    @work(exclusive=True, group="config-act")
    async def _choose(self, option: ChoiceOption | ChoiceListOption) -> None:
        config = self.config
        assert config is not None
        value = config.settings.value_of(option.name)
        chosen = list(value) if isinstance(option, ChoiceListOption) else [value]
        screen = ChooseScreen(
            option.name, option.help, choices(option), chosen, many=isinstance(option, ChoiceListOption),
            equivalent=f"vcb config set {config.path} {option.name}=...",
        )  # fmt: skip
        answer = await self.app.push_screen_wait(screen)
        if answer is not None:
            self._set(option.name, answer)

    def action_cycle(self) -> None:
        row = self._rows.current
        option = OPTIONS[row.name] if row else None
        if not isinstance(option, ChoiceOption):
            self.action_edit()
            return
        assert self.config is not None
        words = list(option.choices)
        place = words.index(self.config.settings.value_of(option.name))
        self._set(option.name, words[(place + 1) % len(words)])

    def _set(self, name: str, text: str) -> bool:
        assert self.config is not None
        try:
            changed = self.config.set(name, text)
        except VcbError as error:
            self.complain(error)
            return False
        if changed:
            self.config_changed()
        origin = self.config.settings.origin(name)
        if changed and origin.kind not in ("file", "default"):
            self.app.notify(f"{name} is set by the {origin.kind}, which counts more than the file.", severity="warning")
        return True

    def action_reset(self) -> None:
        row = self._rows.current
        assert self.config is not None
        if row is not None:
            try:
                changed = self.config.remove(row.name)
            except VcbError as error:
                self.complain(error)
                return
            if changed:
                self.config_changed()
            else:
                self.app.notify(f"{row.name} does not stand in the file.")

    def action_filter(self) -> None:
        self._ask_line("/", self._wanted, "/")

    @work(exclusive=True, group="config-act")
    async def action_help(self) -> None:
        row = self._rows.current
        if row is not None and self.config is not None:
            await self.app.push_screen_wait(OptionHelpScreen(self.config, row))

    # -- the line that is typed in

    def _ask_line(self, what: str, text: str, placeholder: str) -> None:
        self._entry_for = what
        self._entry.remove_class("off")
        self._entry.placeholder = placeholder
        self._entry.value = text
        self._entry.cursor_position = len(text)
        self._entry.focus()
        if what != "/":
            self._show_about("")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._entry_for == "/":
            self._wanted = event.value
            assert self.config is not None
            self._rows.show(rows(self.config, self._wanted))
        elif self._entry_for and self.config is not None:
            self._show_about(self.config.trial(self._entry_for, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        name = self._entry_for
        if name and name != "/":
            assert self.config is not None
            if self.config.is_bad(name, event.value):
                self.app.bell()
                self._show_about(self.config.trial(name, event.value))
                return
            if not self._set(name, event.value):
                return
        self._close_entry()

    def _close_entry(self) -> None:
        self._entry_for = ""
        self._entry.add_class("off")
        self._rows.focus()
        self._show_about()

    def key_escape(self) -> None:
        if self._entry_for:
            if self._entry_for == "/":
                self._wanted = ""
                assert self.config is not None
                self._rows.show(rows(self.config))
            self._close_entry()
        elif self._raw:
            self._show_raw(False)
        elif self._wanted:
            self._wanted = ""
            self.show_findings()

    # -- text

    def action_raw(self) -> None:
        self._show_raw(not self._raw)

    def _show_raw(self, raw: bool) -> None:
        if self._entry_for:
            self._close_entry()
        had_focus = self.has_focus_within
        self._raw = raw
        self._rows.set_class(raw, "off")
        self._text.set_class(not raw, "off")
        assert self.config is not None
        if raw and (row := self._rows.current) and (entry := self.config.values.get(row.name)):
            self._text.go_to_line(entry.line)
        elif not raw:
            line = self._text.cursor_location[0] + 1
            name = next((name for name, entry in self.config.values.items() if entry.line == line), "")
            self._rows.go_to(name)
        if had_focus:
            self.focus_target().focus()
        self._show_about()
        self.post_message(self.StateChanged())

    def on_text_area_changed(self, event: ConfigText.Changed) -> None:
        event.stop()
        if self.config is None:
            return
        try:
            changed = self.config.type_lines(
                [self._text.document.get_line(i) for i in range(self._text.document.line_count)]
            )
        except VcbError as error:
            self.complain(error)
            return
        if changed:
            self.show_findings()
            self.look_at_machine()
            self._rest()

    def on_text_area_selection_changed(self) -> None:
        if self._raw:
            self._show_about()

    # -- findings, undo, draft

    def action_next_finding(self) -> None:
        assert self.config is not None
        if self._raw:
            here = self._text.cursor_location[0] + 1
            lines = sorted({finding.line for finding in self.config.findings if finding.line})
            if lines:
                line = next((line for line in lines if line > here), lines[0])
                self.go_to_finding((), line)
            return
        names = [row.name for row in self._rows.shown if row.findings]
        shown = [row.name for row in self._rows.shown]
        after = [name for name in names if shown.index(name) > self._rows.cursor]
        if not names:
            self.app.notify("Nothing is wrong with these options.")
        else:
            self._rows.go_to((after or names)[0])

    def go_to_finding(self, options: tuple[str, ...], line: int) -> None:
        if not self._raw and any(self._rows.go_to(name) for name in options if name in OPTIONS):
            return
        if line:
            self._show_raw(True)
            self._text.go_to_line(line)

    def action_repair(self) -> None:
        assert self.config is not None
        offered = [finding for finding in self._findings_here() if finding.repair]
        if not offered:
            self.app.notify("No repair is offered here; n goes to the next finding.")
            return
        try:
            self.config.repair(offered[0])
        except VcbError as error:
            self.complain(error)
            return
        self.config_changed()
        self.app.notify("Repaired; u takes it back.")

    def _findings_here(self) -> list[Finding]:
        assert self.config is not None
        if self._raw:
            line = self._text.cursor_location[0] + 1
            return [finding for finding in self.config.findings if finding.line == line]
        row = self._rows.current
        return list(row.findings) if row else []

    def action_undo(self) -> None:
        self._stepped("undo")

    def action_redo(self) -> None:
        self._stepped("redo")

    def _stepped(self, which: str) -> None:
        config = self.config
        assert config is not None
        try:
            what = config.undo() if which == "undo" else config.redo()
        except VcbError as error:
            self.complain(error)
            return
        if what:
            self.config_changed()
        self.app.notify(f"{which.capitalize()}: {what}" if what else f"There is nothing to {which}.")

    def _rest(self) -> None:
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(_DRAFT_AFTER, self._keep_draft_now)

    def _keep_draft_now(self) -> None:
        if self.config is None:
            return
        try:
            self.config.keep_draft()
        except VcbError as error:
            self.complain(error)


def _content(said: list[tuple[str, str]]) -> Content:
    return Content("\n").join(Content.styled(_MARKS.get(kind, "") + text, _STYLES[kind]) for kind, text in said)
