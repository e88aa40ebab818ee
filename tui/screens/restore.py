"""What becomes of a point: files, a new VM, the VM's own disks, or one more disk of a VM."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.jobs.orders import RestoreOrder, RestoreTo
from engine.points.catalog import Point
from tui.commands import Command
from tui.figures import clean
from tui.screens.command_dialog import CommandDialog
from tui.screens.confirm import Confirm
from tui.widgets.choice_list import Choice, ChoiceList


@dataclass(frozen=True, slots=True)
class _Way:
    title: str
    meaning: str
    asks: str
    """What the field wants; "" when there is nothing to name."""


_WAYS = {
    RestoreTo.NEW_VM: _Way(
        "As a new VM",
        "Powered off, its network disconnected, beside what is there; nothing is overwritten.",
        "name of the new VM; empty: NAME-restored-TIME",
    ),
    RestoreTo.FILES: _Way(
        "As files", "VMDK files in a directory, made if missing. Nothing in it is overwritten.", "directory, absolute"
    ),
    RestoreTo.IN_PLACE: _Way(
        "Over the VM's own disks",
        "The VM must be off and without snapshots. What was written since then is lost.",
        "",
    ),
    RestoreTo.VM_DISK: _Way(
        "As one more disk of a VM",
        "Of one that is off. Nothing of it is overwritten.",
        "the VM: name:web02, moref:vm-7",
    ),
}


class RestoreScreen(CommandDialog[RestoreOrder]):
    """Gives the order of the restore; over a VM's own disks only after its name was typed."""

    DEFAULT_CSS = """
    RestoreScreen #restore-meaning, RestoreScreen #restore-asked { margin-top: 1; padding: 0 1; }
    """
    AUTO_FOCUS = "#restore-way"
    commands: ClassVar[tuple[Command, ...]] = (
        Command("restore.start", "Restore", "Starts the job; over a VM's own disks it asks for the VM's name first.",
                ("enter",), footer="Restore", danger=True),
        Command("restore.next", "Next field", "From the ways to the fields, and back.", ("tab",), footer="Field"),
        Command("restore.disk", "Which disk", "All disks, or one of them.", ("ctrl+d",), footer="Disk"),
    )  # fmt: skip

    def __init__(self, point: Point) -> None:
        manifest = point.manifest
        super().__init__(f"Restore {clean(manifest.vm.name)} as of {manifest.created.astimezone():%Y-%m-%d %H:%M}")
        self.point = point
        self._disks = ("", *(disk.name for disk in manifest.disk))
        self._disk = 0
        self._composed = False

    def body(self) -> Iterable[Widget]:
        yield ChoiceList(id="restore-way")
        yield Static("", id="restore-meaning", markup=False)
        yield Static("", id="restore-asked", markup=False)
        yield Input(id="restore-target", compact=True)

    def on_mount(self) -> None:
        super().on_mount()
        self._composed = True
        ways = self.query_one(ChoiceList)
        ways.styles.height = len(_WAYS)
        ways.show([Choice(to.value, way.title) for to, way in _WAYS.items()])
        self._tell()

    @property
    def _to(self) -> RestoreTo:
        return list(_WAYS)[self.query_one(ChoiceList).cursor]

    @property
    def order(self) -> RestoreOrder:
        disk = self._disks[self._disk]
        if self._to is RestoreTo.NEW_VM:
            disk = ""
        elif self._to is RestoreTo.VM_DISK:
            disk = disk or self._disks[-1]
        target = self.query_one(Input).value.strip() if _WAYS[self._to].asks else ""
        return RestoreOrder(self._to, target, (disk,) if disk else ())

    @on(ChoiceList.Moved)
    @on(Input.Changed)
    def _tell(self) -> None:
        way, order = _WAYS[self._to], self.order
        which = "" if order.to is RestoreTo.NEW_VM else f" Disk: {order.disks[0] if order.disks else 'all of them'}."
        danger = order.to is RestoreTo.IN_PLACE
        sign = f"{self.app.glyphs.warning} " if danger else ""
        meaning = Content.styled(f"{sign}{way.meaning}{which}", "$state-error" if danger else "$foreground")
        self.query_one("#restore-meaning", Static).update(meaning)
        self.query_one("#restore-asked", Static).display = bool(way.asks)
        self.query_one("#restore-asked", Static).update(Content.styled(f"Tab to the field: {way.asks}", "$muted"))
        self.query_one(Input).display = bool(way.asks)
        self.show_command(command_line(self.point, order))

    def why_not(self, command: Command) -> str:
        if command.id == "restore.start" and self._composed:
            order = self.order
            if order.to is RestoreTo.FILES and not order.target.startswith("/"):
                return "Name the directory, with its whole path: Tab goes to the field."
            if order.to is RestoreTo.VM_DISK and not order.target:
                return "Name the VM that gets the disk: Tab goes to the field."
        if command.id == "restore.disk" and self._composed and self._to is RestoreTo.NEW_VM:
            return "A new VM gets all disks."
        return super().why_not(command)

    def action_next(self) -> None:
        field = self.query_one(Input)
        (self.query_one(ChoiceList) if field.has_focus or not field.display else field).focus()

    def action_disk(self) -> None:
        self._disk = (self._disk + 1) % len(self._disks)
        self._tell()

    @on(ChoiceList.Taken)
    @on(Input.Submitted)
    async def _taken(self) -> None:
        await self.action_command("restore.start")

    def action_start(self) -> None:
        order = self.order
        if order.to is not RestoreTo.IN_PLACE:
            self.dismiss(order)
            return
        disks = [
            f"{disk.name} ({disk.label}): everything written since {self.point.manifest.created.astimezone():%c}"
            for disk in self.point.manifest.disk
            if not order.disks or disk.name in order.disks
        ]
        vm = self.point.manifest.vm.name

        def answered(yes: bool | None) -> None:
            if yes:
                self.dismiss(order)

        title, sentence = f"Overwrite the disks of {clean(vm)}", "There is no way back from it. What will be destroyed:"
        self.app.push_screen(
            Confirm(title, sentence, disks, verb="Overwrite", command_line=self.command_line, typed=vm), answered
        )


def command_line(point: Point, order: RestoreOrder) -> str:
    """What an operator would type for this order."""
    flags = {
        RestoreTo.FILES: ["--to", order.target or "DIRECTORY"],
        RestoreTo.NEW_VM: ["--name", order.target] if order.target else [],
        RestoreTo.IN_PLACE: ["--in-place"],
        RestoreTo.VM_DISK: ["--attach-to", order.target or "VM"],
    }[order.to]
    disks = [word for disk in order.disks for word in ("--disk", disk)]
    return shlex.join(["vcb", "restore", str(point.directory), *flags, *disks])
