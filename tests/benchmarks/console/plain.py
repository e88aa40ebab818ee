"""A minimal app of three Textual widgets, the one that figures are compared with: a tree, a text, a log.

`python -m tests.benchmarks.console.plain VMS STATE`: so many VMs in the tree; the log follows the job under the state
directory STATE.
"""

import sys
from pathlib import Path

from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Header, Log, TextArea, Tree

from tests.benchmarks.console.journal_writer import JOB
from tests.benchmarks.console.probe import probed


class PlainApp(App[None]):
    CSS = "Tree { width: 40%; } #upper { height: 2fr; } Log { height: 1fr; }"

    def __init__(self, machines: int, state: Path) -> None:
        super().__init__()
        self._machines = machines
        journal = state / "jobs" / JOB / "journal.0001.jsonl"
        self._journal = journal.open(encoding="utf-8") if journal.exists() else None

    def compose(self) -> ComposeResult:
        yield Header()
        with Vertical():
            with Horizontal(id="upper"):
                yield Tree("vCenter")
                yield TextArea('HOST="vcenter.example.org";\n' * 8, read_only=True)
            yield Log(max_lines=100_000)
        yield Footer()

    def on_mount(self) -> None:
        tree = self.query_one(Tree)
        tree.root.expand()
        for number in range(self._machines):
            tree.root.add_leaf(f"vm{number:05}")
        tree.focus()
        if self._journal is not None:
            self.set_interval(0.1, self._follow)

    def _follow(self) -> None:
        assert self._journal is not None
        if lines := self._journal.read().splitlines():
            self.query_one(Log).write_lines(lines)


if __name__ == "__main__":
    probed(PlainApp)(int(sys.argv[1]), Path(sys.argv[2])).run()  # type: ignore[call-arg]
