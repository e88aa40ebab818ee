"""Everything about one option."""

from collections.abc import Iterable

from textual.content import Content
from textual.widget import Widget

from engine.config.option_types import ChoiceListOption, ChoiceOption
from engine.config.options import OPTIONS
from tui.models.marks import finding_sign
from tui.models.open_config import OpenConfig
from tui.models.option_form import Row, about, choices
from tui.screens.command_dialog import CommandDialog
from tui.screens.dialog_text import text


class OptionHelpScreen(CommandDialog[None]):
    def __init__(self, config: OpenConfig, row: Row) -> None:
        secret = OPTIONS[row.name].secret
        command_line = "vcb config password" if secret else f"vcb config set {config.path} {row.name}=..."
        super().__init__(f"{row.name} ({row.section})", command_line)
        self._said = about(config, row)
        self._option = OPTIONS[row.name]

    def body(self) -> Iterable[Widget]:
        glyphs = self.app.glyphs
        lines: list[Content | str] = [
            Content(f"{finding_sign(kind, glyphs)} {text}\n".lstrip(" ")) for kind, text in self._said
        ]
        if isinstance(self._option, (ChoiceOption, ChoiceListOption)):
            for choice in choices(self._option):
                lines.append(Content.assemble((f"{choice.word}: ", "bold"), choice.meaning, f" {choice.needs}"))
                if choice.hindrance:
                    lines.append(Content.styled(f"  {glyphs.error} {choice.hindrance}", "$state-error"))
        since = "an option of VCB" if self._option.since == "VCB" else "not an option of VCB"
        yield text(*lines, Content.styled(f"\n{self._option.name} is {since}.", "$muted"))
