"""The raw view: the configuration file as text, coloured by our own lexers, with what is wrong beside its lines.

Textual's own highlighting is tree-sitter, which killed the process in the versions of the day (facts/terminal.md);
`_build_highlight_map` is private, and a test says when it changes.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from rich.style import Style
from rich.text import Text
from textual.geometry import Size
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import TextAreaTheme

from engine.config.configjs_lexer import Place, tokens
from engine.config.document import Kind
from engine.config.finding import Finding
from engine.config.masking import covered
from engine.config.toml_statements import statements
from engine.secret import redact
from tui.glyphs import Glyphs
from tui.models.marks import finding_sign

_KINDS = {
    "comment": "comment", "unclosed": "error", "string": "string", "curly": "error", "number": "number",
    "word": "name", "odd_space": "error", "other": "error",
}  # fmt: skip
_THEME = "config"
Severity = Literal["error", "warning", "note"]


class ConfigText(TextArea):
    """Lines that may hold a password show stars of the same length, whatever is typed into them."""

    DEFAULT_CSS = """
    ConfigText {
        height: 1fr; border: none; padding: 0; background: $background; color: $foreground;
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1;
    }
    ConfigText:focus { border: none; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "text--comment", "text--string", "text--number", "text--name", "text--error", "text--warning", "text--note",
    }  # fmt: skip
    DEFAULT_CSS += """
    ConfigText > .text--comment { color: $muted; }
    ConfigText > .text--string { color: $state-ok; }
    ConfigText > .text--number { color: $state-note; }
    ConfigText > .text--name { color: $accent; }
    ConfigText > .text--error { color: $state-error; text-style: bold underline; }
    ConfigText > .text--warning { color: $state-warning; }
    ConfigText > .text--note { color: $state-note; }
    """

    class Stepped(Message):
        """One step of undo or redo is wanted: of the document that form and text share."""

        def __init__(self, which: str) -> None:
            super().__init__()
            self.which = which

    class Copied(Message):
        """Text to be copied out, without what is `hidden` on the screen too."""

        def __init__(self, text: str, *, hidden: bool) -> None:
            super().__init__()
            self.text, self.hidden = text, hidden

    def __init__(self, glyphs: Glyphs) -> None:
        self.kind: Kind = "config.js"
        self.glyphs = glyphs
        self._taken = ""
        self._findings: dict[int, Finding] = {}
        super().__init__(show_line_numbers=True, soft_wrap=False, id="config_text", tab_behavior="focus")

    def on_mount(self) -> None:
        self._dress()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._dress())

    def _dress(self) -> None:
        names = ("comment", "string", "number", "name", "error")
        styles = {name: self._partial(name) for name in names}
        self.register_theme(TextAreaTheme(_THEME, syntax_styles=styles))
        self.theme = _THEME
        self._build_highlight_map()

    def _partial(self, name: str) -> Style:
        return self.get_component_rich_style(f"text--{name}", partial=True)

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """The worst of each line is written behind it."""
        order = ("error", "warning", "note")
        worst: dict[int, Finding] = {}
        for finding in sorted(findings, key=lambda finding: order.index(finding.severity)):
            if finding.line:
                worst.setdefault(finding.line, finding)
        if worst != self._findings:
            self._findings = worst
            self._line_cache.clear()
            self.refresh()

    def _refresh_size(self) -> None:
        """Textual cuts each line off where the longest line of the file ends, and with it what is said behind."""
        super()._refresh_size()
        room = self.scrollable_content_region.width
        if self.virtual_size.width < room:
            self.virtual_size = Size(room, self.virtual_size.height)

    def go_to_line(self, number: int) -> None:
        """The cursor at the beginning of a line (from 1), in the middle of what is seen."""
        self.move_cursor((number - 1, 0))
        self.scroll_to(x=0, y=max(number - 1 - self.size.height // 2, 0), animate=False)

    def get_line(self, line_index: int) -> Text:
        """The line as it is painted: no password, and behind it what is wrong."""
        plain = self.document.get_line(line_index)
        line = Text(covered(plain), end="", no_wrap=True)
        if finding := self._findings.get(line_index + 1):
            said = f"  {finding_sign(finding.severity, self.glyphs)} {redact(finding.text)}"
            line.append(said, self._partial(finding.severity) + Style(italic=True, underline=False))
        return line

    @property
    def typed_lines(self) -> list[str]:
        """What stands in the editor."""
        return [self.document.get_line(row) for row in range(self.document.line_count)]

    # Undo is the pane's, and the clipboard outside gets no password

    def action_undo(self) -> None:
        self.post_message(self.Stepped("undo"))

    def action_redo(self) -> None:
        self.post_message(self.Stepped("redo"))

    def action_copy(self) -> None:
        if self.selected_text:
            self._take(self.selected_text, *sorted(self.selection))

    def action_cut(self) -> None:
        start, end = sorted(self.selection)
        if start == end:
            start, end = (start[0], 0), (start[0] + 1, 0)
            if start[0] + 1 == self.document.line_count:
                end = (start[0], len(self.document.get_line(start[0])))
        text = self.document.get_text_range(start, end)
        if text:
            self._take(text, start, end)
            self.delete(start, end)

    def _take(self, text: str, start: tuple[int, int], end: tuple[int, int]) -> None:
        """To be pasted here as it is, and anywhere else with stars for what the screen does not show either."""
        self._taken = text
        rows = [covered(self.document.get_line(row)) for row in range(start[0], end[0] + 1)]
        rows[-1] = rows[-1][: end[1]]
        rows[0] = rows[0][start[1] :]
        shown = "\n".join(rows)
        self.post_message(self.Copied(shown, hidden=shown != text))

    def action_paste(self) -> None:
        if result := self._replace_via_keyboard(self._taken or self.app.clipboard, *self.selection):
            self.move_cursor(result.end_location)

    def _build_highlight_map(self) -> None:
        self._line_cache.clear()
        highlights = self._highlights
        highlights.clear()
        text = self.document.text
        pieces = _config_js(text) if self.kind == "config.js" else _toml(text)
        lines = text.splitlines(keepends=True)
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line))
        row = 0
        for start, end, name in sorted(pieces):
            while row + 1 < len(starts) and starts[row + 1] <= start:
                row += 1
            at = row
            while at < len(lines) and starts[at] < end:
                line = lines[at]
                first, last = max(start - starts[at], 0), min(end - starts[at], len(line.rstrip("\r\n")))
                highlights[at].append((len(line[:first].encode()), len(line[:last].encode()), name))
                at += 1


def _config_js(text: str) -> Iterator[tuple[int, int, str]]:
    for token in tokens(text, "utf-8", Place()):
        if name := _KINDS.get(token.kind):
            yield token.start, token.end, name


def _toml(text: str) -> Iterator[tuple[int, int, str]]:
    for statement in statements(text):
        if statement.kind == "comment":
            yield statement.start, statement.end, "comment"
        elif statement.kind == "unreadable":
            yield statement.start, statement.end, "error"
        elif statement.kind == "setting":
            yield *statement.name, "name"
            value = text[slice(*statement.value)]
            yield *statement.value, "string" if value[:1] in "\"'[" else "number"
        else:
            yield statement.start, statement.end, "name"
