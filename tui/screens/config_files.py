"""Configuration files (profiles): open another one, make one from a sample, or copy the one that is open."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.config import samples, saving
from engine.config.document import kind_of
from engine.config.effective import config_directories
from engine.errors import VcbError
from tui.commands import Command
from tui.screens.command_dialog import CommandDialog
from tui.screens.dialog_text import printable
from tui.widgets.choice_list import Choice, ChoiceList

_MOST_SHOWN = 14


class ConfigFilesScreen(CommandDialog[Path]):
    """Gives the file to open. A new one is written at once: it is a sample, or a copy, and valid or as its original."""

    DEFAULT_CSS = """
    ConfigFilesScreen Input { margin-top: 1; }
    ConfigFilesScreen #trouble { color: $state-error; height: auto; }
    """
    AUTO_FOCUS = "ChoiceList"
    commands: ClassVar[tuple[Command, ...]] = (
        Command("files.take", "Take it", "Opens the file at the cursor, or asks for the name of the new one.",
                ("enter",), footer="Take"),
        Command("files.path", "Another path", "Goes to the line for the path of a file.", ("tab",), footer="Type a"
                " path"),
    )  # fmt: skip

    def __init__(self, current: Path | None) -> None:
        super().__init__("Configuration files", f"VCB_CONFIG={shlex.quote(str(current or 'FILE'))} vcb")
        self.current = current
        self.directory = current.absolute().parent if current else config_directories()[0]
        self._source: str | None = None

    def body(self) -> Iterable[Widget]:
        yield ChoiceList()
        yield Input(placeholder="path of another file (Enter opens it)", id="path", compact=True, select_on_focus=False)
        yield Static(id="trouble")

    def on_mount(self) -> None:
        super().on_mount()
        choices = [
            Choice(f"open {path}", printable(str(path)), "open now" if path == self.current else "")
            for path in self._files()
        ]
        if self.current:
            choices.append(Choice("copy", f"+ a copy of {self.current.name}, without its password"))
        choices += [Choice(f"sample {name}", f"+ new from the sample {name}") for name in samples.files()]
        lines = self.query_one(ChoiceList)
        lines.styles.height = min(len(choices), _MOST_SHOWN)
        lines.show(choices)

    def _files(self) -> list[Path]:
        directories = dict.fromkeys([self.directory, *config_directories()])
        found = [path for directory in directories if directory.is_dir() for path in sorted(directory.iterdir())
                 if path.suffix in (".js", ".toml") and path.is_file()]  # fmt: skip
        first = [self.current.absolute()] if self.current else []
        return [*first, *(path for path in found if path not in first)][:200]

    def action_take(self) -> None:
        self.query_one(ChoiceList).action_take()

    def action_path(self) -> None:
        entry, lines = self.query_one(Input), self.query_one(ChoiceList)
        (lines if entry.has_focus else entry).focus()

    @on(ChoiceList.Taken)
    def _taken(self, message: ChoiceList.Taken) -> None:
        do, _, what = message.choice.id.partition(" ")
        if do == "open":
            self.dismiss(Path(what))
            return
        self._source = what if do == "sample" else ""
        suffix = Path(what).suffix if do == "sample" else self.current.suffix if self.current else ".toml"
        entry = self.query_one("#path", Input)
        entry.value = str(self.directory / f"{'vcb' if do == 'sample' else 'copy'}{suffix}")
        entry.cursor_position = len(entry.value)
        entry.focus()
        self._say("Name the new file; Enter makes it.")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        path, sign = Path(event.value.strip()).expanduser().absolute(), self.app.glyphs.error
        try:
            kind_of(path)
            if self._source is not None:
                self._make(path, self._source)
            elif not path.is_file():
                self._say(f"{sign} {path} is not there; choose a sample above to make it.")
                return
        except VcbError as error:
            self._say(f"{sign} {error.sentence}. {error.hint}")
            return
        self.dismiss(path)

    def _make(self, path: Path, sample: str) -> None:
        """Raises VcbError; never overwrites."""
        _, base = saving.read(path)
        if base.exists:
            self._source = None
            raise VcbError(f"{path} is there already", hint="Press Enter again to open it.")
        if sample:
            data, what = samples.files()[sample].encode(), f"new from {sample}"
        else:
            assert self.current is not None
            data, what = samples.without_secrets(saving.read(self.current)[0], self.current), "copy"
        path.parent.mkdir(parents=True, exist_ok=True)
        saving.save(path, data, base=base, allow_invalid=True, what=what)

    def _say(self, text: str) -> None:
        self.query_one("#trouble", Static).update(Content(text))
