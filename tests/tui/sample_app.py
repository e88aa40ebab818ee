"""A three-pane app of Textual's own widgets: what the console is measured and fuzzed beside."""

import os
import sys
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Header, Input, Label, Log, Tree

from tui.wire.display import LineApp

NAMES = ("web01", "db-master", "日本語サーバー", "caf\u00e9", "e\u0301tude", "архив", "x" * 60, "한국어 VM", "ok ✔ ⚠ ▾")


class Question(ModalScreen[None]):
    """A dialog over the panes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "app.pop_screen", "Close")]
    DEFAULT_CSS = """
    Question { align: center middle; }
    Question > Vertical { width: 40; height: 9; border: thick $accent; background: $surface; }
    """

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("Remove the snapshot of 日本語サーバー?")
            yield Input(placeholder="name of the VM")


class SampleApp(LineApp[None]):
    """Tree, table and log."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "ask", "Ask"),
        Binding("f2", "ask", "Ask"),
        Binding("f9", "fail", "Fail"),
    ]
    CSS = """
    #left { width: 40%; border: round $primary; } #left:focus { border: round $accent; }
    #table { height: 60%; } #log { border: solid $secondary; }
    """

    lines = 0

    def compose(self) -> ComposeResult:
        yield Header()
        with Horizontal():
            yield Tree("vCenter", id="left")
            with Vertical():
                yield DataTable(id="table", cursor_type="row")
                yield Log(id="log")
        yield Footer()

    def on_mount(self) -> None:
        tree = self.query_one(Tree)
        tree.root.expand()
        for folder in range(6):
            node = tree.root.add(f"folder {folder}", expand=True)
            for name in NAMES:
                node.add_leaf(f"{name}-{folder}")
        table: DataTable[str] = self.query_one(DataTable)
        table.add_columns("VM", "Größe", "state")
        for number in range(40):
            table.add_row(NAMES[number % len(NAMES)], f"{number} GiB", "on" if number % 3 else "[red]off[/]")
        self.query_one(Log).write_lines(f"{number} {NAMES[number % len(NAMES)]}" for number in range(50))
        tree.focus()
        if os.environ.get("SAMPLE_LIVE"):
            self.set_interval(0.02, lambda: self.when_clear(self.grow))

    def grow(self) -> None:
        """A live repaint, as a feed makes it."""
        self.query_one(Log).write_line("live " + chr(ord("A") + self.lines % 26) * 12)
        self.lines += 1

    def action_fail(self) -> None:
        raise RuntimeError("as ordered")

    def action_ask(self) -> None:
        if not isinstance(self.screen, Question):
            self.push_screen(Question())


if __name__ == "__main__":
    app = SampleApp()
    app.run()
    sys.exit(app.return_code)
