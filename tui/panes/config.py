"""The pane "Configuration": the option table as a form, and the file as text, over one document."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.message import Message
from textual.widget import Widget

from engine.config.finding import Finding
from engine.config.option_types import ChoiceListOption, ChoiceOption
from engine.config.options import OPTIONS
from engine.errors import VcbError
from tui.commands import Command
from tui.draft_keeper import DraftKeeper
from tui.panes.config_commands import COMMANDS, FORM_ONLY, NEEDS_FILE
from tui.panes.config_raw import ConfigRaw

if TYPE_CHECKING:
    from engine.config.draft import Draft


class ConfigPane(ConfigRaw):
    pane_id = "config"
    pane_title = "Configuration"
    purpose = (
        "The options of the configuration file, what each means here, and what is wrong with them: a sign before an"
        " option tells of an error, a warning, a note, or a change that is not saved, and the words stand below."
        " Nothing is written before s has shown the difference; what is not saved when you leave is back the next time."
    )
    commands: ClassVar[tuple[Command, ...]] = COMMANDS
    DEFAULT_CSS = """
    ConfigPane { layout: vertical; }
    ConfigPane .off { display: none; }
    """

    class DraftFailed(Message):
        """What is not saved could not be kept."""

        def __init__(self, error: VcbError) -> None:
            super().__init__()
            self.error = error

    def __init__(self) -> None:
        super().__init__()
        self._keeper = DraftKeeper(lambda error: self.post_message(self.DraftFailed(error)))
        self._draft_trouble = ""
        self._wanted = ""
        self._unreadable = ""

    def compose(self) -> ComposeResult:
        self._rows.glyphs = self._about.glyphs = self.app.glyphs
        yield self._rows
        yield self._prompt
        yield self._about

    def on_mount(self) -> None:
        path = self.app.document_path
        if path is None:
            self._rows.add_class("off")
            self._about.say("There is no configuration file yet. Press f to make one, or to open one.")
        else:
            self.open_file(path)

    def on_unmount(self) -> None:
        self.keep_draft()
        self._keeper.flush()

    def focus_target(self) -> Widget:
        if self.config is None:
            self._rows.remove_class("off")
        return self._text if self._raw and self._text else self._rows

    def save_state(self) -> dict[str, Any]:
        return {"raw": self._raw, "option": self._rows.current.name if self._rows.current else ""}

    def restore_state(self, state: dict[str, Any]) -> None:
        if self.config is not None and isinstance(name := state.get("option"), str):
            self._rows.go_to(name)
        if self.config is not None and state.get("raw") is True and not self._raw:
            self._show_raw(True)

    def why_not(self, command: Command) -> str:
        if self.config is None and command.id.partition(".")[2] in NEEDS_FILE:
            return self._unreadable or "There is no configuration file open; f opens or makes one."
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "command" and parameters and isinstance(parameters[0], str):
            name = parameters[0].partition(".")[2]
            if (self._raw or self._prompt.asking) and name in FORM_ONLY:
                return False
        return super().check_action(action, parameters)

    # The file

    def open_file(self, path: Path) -> bool:
        from tui.models.open_config import OpenConfig  # noqa: PLC0415 - a console without a file starts without it

        self.keep_draft()
        try:
            self.config = OpenConfig(path, os.environ)
        except VcbError as error:
            self._unreadable = str(error)
            self.complain(error)
            return False
        self.app.document_path = path
        self._rows.remove_class("off")
        draft = self.config.take_up_draft()
        self.config_changed()
        if draft is not None:
            self._tell_of_draft(draft, path)
        broken = next((f for f in self.config.document.findings() if f.severity == "error"), None)
        if broken is not None:
            self.go_to_finding((), broken.line)
        return True

    def _tell_of_draft(self, draft: "Draft", path: Path) -> None:
        told = [f"Unsaved changes of {draft.at.astimezone():%Y-%m-%d %H:%M} are back. s shows and saves them, u drops"
                " them; the file is as it was."]  # fmt: skip
        if draft.conflict:
            told.append("It was changed on the disk meanwhile, at the same places: s shows both.")
        elif draft.changed:
            told.append("It was changed on the disk meanwhile, at other places: both changes stand here.")
        if draft.lost:
            told.append("The password typed then was not kept.")
        severity = "warning" if draft.changed or draft.lost else "information"
        self.app.notify(" ".join(told), title=path.name, timeout=15, severity=severity, markup=False)

    def config_changed(self) -> None:
        self._show_text()
        self._typed = (-1, 0.0)
        self.show_findings()
        self.look_at_machine()
        self.keep_draft()

    def show_findings(self) -> None:
        config = self.config
        assert config is not None
        self._show_rows()
        if self._text is not None:
            self._text.show_findings(config.findings_of_file)
        errors = sum(finding.severity == "error" for finding in config.findings)
        told = [config.path.name]
        if errors:
            told.append(f"{self.app.glyphs.error} {'1 error' if errors == 1 else f'{errors} errors'}")
        if config.changed:
            told.append(f"{self.app.glyphs.modified} not saved")
        self.note = ", ".join(told)
        self.show_about()

    def keep_draft(self) -> None:
        if (config := self.config) is not None:
            self._keeper.keep(config.drafts, config.base.data, config.data, exists=config.base.exists)

    def on_config_pane_draft_failed(self, message: DraftFailed) -> None:
        if message.error.sentence != self._draft_trouble:  # once, and not at each key
            self._draft_trouble = message.error.sentence
            self.complain(message.error)

    def on_option_rows_moved(self) -> None:
        self.show_about()
        self.post_message(self.StateChanged())

    def on_option_rows_chosen(self) -> None:
        self.action_edit()

    def show_about(self) -> None:
        config, row = self.config, self._rows.current
        if config is None or self._prompt.asking:
            return
        if self._raw:
            self._about.show_line(config, self._line)
        elif row is None:
            self._about.say("No option has these words in its name.")
        else:
            self._about.show_row(config, row, self.size.height)

    # The form

    def _show_rows(self) -> None:
        from tui.models.option_form import rows  # noqa: PLC0415 - as in open_file

        assert self.config is not None
        self._rows.show(rows(self.config, self._wanted))

    def action_edit(self) -> None:
        from tui.models.option_form import edit_text  # noqa: PLC0415

        row, config = self._rows.current, self.config
        if row is None or config is None:
            return
        name, option = row.name, OPTIONS[row.name]
        if option.secret:
            self.action_password()
        elif isinstance(option, (ChoiceOption, ChoiceListOption)):
            self._choose(option)
        else:
            self._prompt.ask(
                f" {name} =", lambda text: self._entered(name, text), edit_text(config, name),
                changed=lambda text: self._about.show_trial(config, name, text), left=self.show_about,
            )  # fmt: skip

    def _entered(self, name: str, text: str) -> bool:
        """Whether the value is taken."""
        assert self.config is not None
        if self.config.is_bad(name, text):
            self.app.bell()
            self._about.show_trial(self.config, name, text)
            return False
        if taken := self._set(name, text):
            self._prompt.close()
            self.show_about()
        return taken

    @work(exclusive=True, group="config-act")
    async def _choose(self, option: ChoiceOption | ChoiceListOption) -> None:
        from tui.models.option_form import choices  # noqa: PLC0415
        from tui.screens.choose import ChooseScreen  # noqa: PLC0415 - a dialog is imported when it is wanted

        config = self.config
        assert config is not None
        value, many = config.settings.value_of(option.name), isinstance(option, ChoiceListOption)
        chosen = list(value) if many else [value]
        screen = ChooseScreen(config.path, option.name, option.help, choices(option), chosen, many=many)
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
        self._prompt.ask(" /", self._filtered, self._wanted, changed=self._filter, left=lambda: self._filtered(""))

    def _filter(self, words: str) -> None:
        self._wanted = words
        self._show_rows()

    def _filtered(self, words: str) -> None:
        self._filter(words)
        self._prompt.close()
        self.show_about()

    @work(exclusive=True, group="config-act")
    async def action_help(self) -> None:
        from tui.screens.option_help import OptionHelpScreen  # noqa: PLC0415

        row = self._rows.current
        if row is not None and self.config is not None:
            await self.app.push_screen_wait(OptionHelpScreen(self.config, row))

    def key_escape(self) -> None:
        if self._raw:
            self._show_raw(False)
        elif self._wanted:
            self._filtered("")

    # Findings

    def action_next_finding(self) -> None:
        assert self.config is not None
        if self._raw:
            here = self._line
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
            self._text_view().go_to_line(line)

    def findings_here(self) -> list[Finding]:
        assert self.config is not None
        if self._raw:
            return [finding for finding in self.config.findings if finding.line == self._line]
        row = self._rows.current
        return list(row.findings) if row else []
