"""What is inside a restore point's disks: volumes, directories, files; what is at the cursor can be taken out."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import on

from engine.config.options import Settings
from engine.jobs.files_process import FilesProcess
from engine.jobs.orders import FilesOrder
from engine.jobs.request import Act
from engine.points.catalog import Point
from tui.commands import Command
from tui.figures import clean, size
from tui.screens.list_dialog import ListDialog
from tui.widgets.choice_list import Choice, ChoiceList

_MARKS = {"directory": "/", "symlink": "@", "device": "%", "pipe": "|", "socket": "="}


class FilesScreen(ListDialog):
    """Rows are those of `engine.files.listing` in JSON. A process of its own reads the disks."""

    empty = "There is nothing in it."
    commands: ClassVar[tuple[Command, ...]] = (
        Command("files.open", "Open", "Goes into the volume or the directory under the cursor.", ("enter", "right"),
                footer="Open"),
        Command("files.up", "Up", "Goes back to the directory above, and from a volume to the list of volumes.",
                ("backspace", "left"), footer="Up"),
        Command("files.get", "Take out", "Takes what is under the cursor out into a directory, with all below it: a "
                "job of its own.", ("g",), footer="Take out"),
    )  # fmt: skip

    def __init__(self, point: Point, settings: Settings) -> None:
        when = f"{point.manifest.created.astimezone():%Y-%m-%d %H:%M}"
        super().__init__(f"Files of {clean(point.manifest.vm.name)} as of {when}", "", settings)
        self.point = point
        self.place: tuple[str, ...] = ()
        """The volume, then the names of the directories that were gone into."""
        self._reader = FilesProcess(point.directory)
        self._answer: dict[str, Any] = {}
        self._came_from = ""

    def on_unmount(self) -> None:
        self._reader.close()

    def load(self) -> Sequence[Any]:
        self._answer = self._reader.look("/".join(self.place))
        return self._answer.get("volumes") or self._answer.get("entries") or ()

    def _show(self, found: Sequence[Any], trouble: str) -> None:
        super()._show(found, trouble)
        if not self.is_running or trouble:
            return
        listed, names = self.query_one(ChoiceList), [_name(row) for row in found]
        listed.show(listed.choices, names.index(self._came_from) if self._came_from in names else 0)

    def head(self) -> str:
        return clean(" / ".join(self.place)) or "volumes of the disks"

    def lines(self) -> Iterable[Choice]:
        for row in self.found or ():
            if "path" in row:
                about = f"{row['title']}  {clean(row['label'])}".rstrip()
                yield Choice(row["path"], f"{clean(row['path']):<16} {size(row['size']):>9}  {about}",
                             muted=not row["readable"])  # fmt: skip
            else:
                title = f"{clean(row['name'])}{_MARKS.get(row['kind'], '')}"
                right = size(row["size"]) if row["kind"] == "file" else row["kind"] * (row["kind"] == "unknown")
                yield Choice(row["name"], title, right, muted=bool(row["unreadable"]))

    def about(self, current: Any) -> Iterable[Text]:
        if "path" in current:
            if current["error"]:
                yield Text(f"{self.app.glyphs.error} {clean(current['error']['sentence'])}", "bold red")
            elif current["reason"]:
                yield Text(f"Nothing can be had from it: {clean(current['reason'])}.")
            for finding in self._answer["findings"]:
                yield Text(f"{self.app.glyphs.error} {clean(finding)}", "bold red")
            return
        when = current["modified"][:16].replace("T", " ")
        yield Text(
            f"{current['kind']}, mode {current['mode']}, owner {current['owner']}:{current['group']}, {when} UTC"
        )
        if current["target"]:
            yield Text(f"to {clean(current['target'])}")
        for text in (current["unreadable"], current["remark"]):
            if text:
                yield Text(f"{self.app.glyphs.warning} {clean(text)}", "yellow")
        for text in self._answer["remarks"]:
            yield Text(clean(text), "cyan")

    def command_for(self, current: Any) -> str:
        path = "/".join((*self.place, _name(current)))
        words = ["vcb", "files", "ls", str(self.point.directory), path]
        return shlex.join(words) if path.isprintable() else "vcb files ls"

    def why_not(self, command: Command) -> str:
        if command.id.startswith("files."):
            if self.found is None:
                return "The disks are being read."
            if command.id == "files.up":
                return "" if self.place else "This is the list of volumes."
            current = self.current
            if current is None:
                return "There is nothing under the cursor."
            if current.get("unreadable") or current.get("readable") is False:
                return "Nothing can be had from it."
            if command.id == "files.open" and current.get("kind") != "directory" and "path" not in current:
                return "It is no directory: g takes it out."
        return super().why_not(command)

    @on(ChoiceList.Taken)
    async def _taken(self) -> None:
        await self.action_command("files.open")

    def action_open(self) -> None:
        self._go((*self.place, _name(self.current)), "")

    def action_up(self) -> None:
        self._go(self.place[:-1], self.place[-1])

    def _go(self, place: tuple[str, ...], came_from: str) -> None:
        self.place, self._came_from, self.found = place, came_from, None
        self.query_one(ChoiceList).show(())
        self.tell_keys()
        self.look()

    def action_get(self) -> None:
        from tui.screens.take_out import TakeOutScreen  # noqa: PLC0415 - a dialog is imported when it is wanted

        path = "/".join((*self.place, _name(self.current)))

        def chosen(target: str | None) -> None:
            if target:
                vm = self.point.manifest.vm.name
                self.start(Act.FILES, str(self.point.directory), name=vm, order=FilesOrder(path, target))

        self.app.push_screen(TakeOutScreen(self.point, path), chosen)


def _name(row: dict[str, Any]) -> str:
    """What it adds to a path."""
    return row["path"] if "path" in row else row["name"]
