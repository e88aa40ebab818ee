"""Configuration files (profiles): open another one, make one from a sample, or copy the one that is open."""

from collections.abc import Iterable
from pathlib import Path

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.config import samples, saving
from engine.config.document import kind_of
from engine.config.effective import config_directories
from engine.errors import VcbError
from tui.screens.command_dialog import CommandDialog


class ConfigFilesScreen(CommandDialog[Path]):
    """Gives the file to open. A new one is written at once: it is a sample, or a copy, and valid or as its original."""

    DEFAULT_CSS = """
    ConfigFilesScreen OptionList { height: auto; max-height: 16; border: none; background: $surface; padding: 0; }
    ConfigFilesScreen Input { height: 1; border: none; background: $panel; margin-top: 1; }
    ConfigFilesScreen Input:focus { border: none; background: $panel; }
    ConfigFilesScreen #trouble { color: $state-error; height: auto; }
    """
    AUTO_FOCUS = "OptionList"

    def __init__(self, current: Path | None) -> None:
        super().__init__("Configuration files", f"vcb --config {current or 'FILE'}")
        self.current = current
        self.directory = current.absolute().parent if current else config_directories()[0]
        self._source: str | None = None

    def body(self) -> Iterable[Widget]:
        files = self._files()
        options = [Option(Content(f"{'->' if path == self.current else '  '} {path}"), f"open {path}")
                   for path in files]  # fmt: skip
        if self.current:
            options.append(Option(Content(f" + a copy of {self.current.name}, without its password"), "copy"))
        options += [Option(Content(f" + new from the sample {name}"), f"sample {name}") for name in samples.files()]
        yield OptionList(*options)
        yield Input(placeholder="path of another file (Enter opens it)", id="path", compact=True)
        yield Static(id="trouble")

    def _files(self) -> list[Path]:
        directories = dict.fromkeys([self.directory, *config_directories()])
        found = [path for directory in directories if directory.is_dir() for path in sorted(directory.iterdir())
                 if path.suffix in (".js", ".toml") and path.is_file()]  # fmt: skip
        first = [self.current.absolute()] if self.current else []
        return [*first, *(path for path in found if path not in first)][:200]

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        do, _, what = (event.option_id or "").partition(" ")
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
        path = Path(event.value.strip()).expanduser().absolute()
        try:
            kind_of(path)
            if self._source is not None:
                self._make(path, self._source)
            elif not path.is_file():
                self._say(f"x {path} is not there; choose a sample above to make it.")
                return
        except VcbError as error:
            self._say(f"x {error.sentence}. {error.hint}")
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
