"""The configuration pane's second view: the file as text, made when it is first looked at."""

import time
from typing import TYPE_CHECKING

from engine.errors import VcbError
from tui.panes.config_acts import ConfigActs
from tui.widgets.option_about import OptionAbout
from tui.widgets.option_rows import OptionRows
from tui.widgets.prompt_line import PromptLine

if TYPE_CHECKING:
    from tui.widgets.config_text import ConfigText

_ONE_STEP = 2.0
"""Seconds of rest after which typing in the same line is another step for undo."""


class ConfigRaw(ConfigActs):
    """`_raw` tells which of form and text is seen; both are of the same document."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = OptionRows()
        self._prompt, self._about = PromptLine(), OptionAbout()
        self._text: ConfigText | None = None
        self._raw = False
        self._typed = (-1, 0.0)

    @property
    def typing(self) -> bool:
        return self._raw

    def show_about(self) -> None:
        """What there is to say about the option or the line at the cursor."""
        raise NotImplementedError

    def keep_draft(self) -> None:
        """Keeps what is not saved."""
        raise NotImplementedError

    def action_raw(self) -> None:
        self._show_raw(not self._raw)

    @property
    def _line(self) -> int:
        """Of the text, the one with the cursor, from 1."""
        return self._text.cursor_location[0] + 1 if self._text else 1

    def _show_text(self) -> None:
        """The document as it is now, where the text has been looked at."""
        text, config = self._text, self.config
        if text is None or config is None:
            return
        text.kind = config.document.kind
        if text.document.text != (lines := "\n".join(config.lines)):
            place = text.cursor_location
            text.load_text(lines)
            text.move_cursor(place)

    def _text_view(self) -> "ConfigText":
        """The text, which is made when it is first looked at."""
        from tui.widgets.config_text import ConfigText  # noqa: PLC0415 - Textual's editor, which few starts need

        assert self.config is not None
        if self._text is None:
            self._text = ConfigText(self.app.glyphs)
            self.mount(self._text, before=self._prompt)
            self._show_text()
            self._text.show_findings(self.config.findings_of_file)
        return self._text

    def _show_raw(self, raw: bool) -> None:
        self._prompt.close()
        had_focus = self.has_focus_within
        self._raw = raw
        text = self._text_view()
        self._rows.set_class(raw, "off")
        text.set_class(not raw, "off")
        assert self.config is not None
        if raw and (row := self._rows.current) and (entry := self.config.values.get(row.name)):
            text.go_to_line(entry.line)
        elif not raw:
            name = next((name for name, entry in self.config.values.items() if entry.line == self._line), "")
            self._rows.go_to(name)
        if had_focus:
            self.focus_target().focus()
        self.show_about()
        self.post_message(self.Changed(self))
        self.post_message(self.StateChanged())

    def on_text_area_changed(self, event: "ConfigText.Changed") -> None:
        event.stop()
        if self.config is None or self._text is None:
            return
        row, now = self._text.cursor_location[0], time.monotonic()
        joins = row == self._typed[0] and now - self._typed[1] < _ONE_STEP
        try:
            changed = self.config.type_lines(self._text.typed_lines, joins=joins)
        except VcbError as error:
            self.complain(error)
            return
        if changed:
            self._typed = (row, now)
            self.show_findings()
            self.look_at_machine()
            self.keep_draft()

    def on_text_area_selection_changed(self) -> None:
        if self._raw:
            self.show_about()

    def on_config_text_stepped(self, message: "ConfigText.Stepped") -> None:
        self.stepped(message.which)

    def on_config_text_copied(self, message: "ConfigText.Copied") -> None:
        stars = " The password is not in it: stars stand in its place." if message.hidden else ""
        self.app.notify(self.app.copy(message.text) + stars, markup=False)
