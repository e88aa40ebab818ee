"""The restore points of one VM, what they were proven to be, and what can be done with them."""

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar

from rich.text import Text

from engine.config.options import Settings
from engine.jobs.orders import RestoreOrder, RetainOrder, VerifyOrder
from engine.jobs.request import Act
from engine.points.catalog import Catalogue, Point, look
from engine.points.proof import Depth
from engine.state_directory import StateDirectory
from tui.cli.points_view import retention_lines
from tui.commands import Command
from tui.figures import clean, fit, size
from tui.screens.confirm import Confirm
from tui.screens.list_dialog import ListDialog
from tui.shell_line import on_file
from tui.widgets.choice_list import Choice

_COLUMNS = (("time", 16), ("kind", 11), ("chain", 5), ("by", 7), ("quiesced", 8), ("stored", 9))
_SPARED = ("by", "quiesced", "chain")
"""Columns that give way, the first first."""
_PROOF = 30
"""Columns of sign, date and depth of the proof."""


class PointsScreen(ListDialog):
    """`identity` names the VM: the instance UUID of its vCenter, and its moref, which is unique only there. Newest
    first."""

    empty = "There is no restore point of this VM under BACKUPROOT yet. b in the inventory makes one."
    commands: ClassVar[tuple[Command, ...]] = (
        Command("points.verify", "Verify", "Reads the point back from the medium, as deep as you choose.", ("v",),
                footer="Verify"),
        Command("points.restore", "Restore", "As files, as a new VM, over the VM's own disks, or as one more disk of a "
                "VM.", ("r", "enter"), footer="Restore"),
        Command("points.files", "Files", "What is inside the point's disks: goes through directories, and takes files "
                "out.", ("f",), footer="Files"),
        Command("points.retain", "Clear out", "Shows which points of this VM the KEEP_ options would remove, and why; "
                "removes them after a yes.", ("x",), footer="Clear out", danger=True),
        Command("points.serve", "Serve over NBD", "Copies the command that serves the point's disks read-only over "
                "NBD, for guestmount, qemu-nbd and the like.", ("s",), footer="Serve"),
        Command("points.again", "Look again", "Reads the points anew.", ("f5", "ctrl+r")),
    )  # fmt: skip

    def __init__(self, identity: tuple[str, str], name: str, settings: Settings) -> None:
        same = shlex.join(["vcb", "points", f"moref:{identity[1]}"])
        super().__init__(f"Restore points of {clean(name)}", same, settings)
        self.identity, self.vm = identity, name
        self.catalogue: Catalogue | None = None

    def load(self) -> Sequence[Point]:
        self.catalogue = look(self.settings.BACKUPROOT.resolve(), StateDirectory.default().root)
        return [point for point in reversed(self.catalogue.points) if point.identity == self.identity]

    def head(self) -> str:
        left = "  " + " ".join(fit(title, width) for title, width in self._columns)
        return f"{left}{'proven':>{self.room - len(left) - 2}}"

    @property
    def _columns(self) -> list[tuple[str, int]]:
        """Those that a narrow terminal has room for, beside the proof."""
        columns = list(_COLUMNS)
        for spared in _SPARED:
            if sum(width + 1 for _, width in columns) + _PROOF <= self.room:
                break
            columns = [column for column in columns if column[0] != spared]
        return columns

    def lines(self) -> Iterable[Choice]:
        catalogue, glyphs = self.catalogue, self.app.glyphs
        if catalogue is None:
            return
        for point in self.found or ():
            manifest, flaw = point.manifest, catalogue.flaw(point)
            cells = {
                "time": _moment(manifest.created), "kind": point.kind or "no disk",
                "chain": str(len(catalogue.chain(point))), "by": manifest.transport,
                "quiesced": "yes" if manifest.snapshot.quiesced else "no", "stored": size(point.stored),
            }  # fmt: skip
            text = " ".join(fit(clean(cells[title]), width) for title, width in self._columns)
            proven = f"{_moment(point.proven)} {point.depth}" if point.proven and not flaw else "NOT PROVEN"
            yield Choice(str(point.directory), f"{glyphs.error if flaw else glyphs.ok} {text}", proven)

    def about(self, current: Any) -> Iterable[Text]:
        catalogue = self.catalogue
        if catalogue is None:
            return
        point: Point = current
        if flaw := catalogue.flaw(point):
            yield Text(f"{self.app.glyphs.error} {clean(flaw)}", "bold red")
        yield Text(clean(str(point.directory)))
        for disk in point.manifest.disk:
            needs = f", needs {disk.parent}" if disk.parent else ""
            yield Text(f"{fit(disk.name, 9)} {clean(disk.label)}  {size(disk.capacity)}  {disk.kind}{needs}")
        for skipped in point.manifest.skipped:
            yield Text(f"{fit(skipped.name, 9)} skipped: {clean(skipped.code)}", "yellow")
        if needed := catalogue.needed_by(point):
            yield Text(f"{len(needed)} newer point{'s need' if len(needed) > 1 else ' needs'} it.")

    def command_for(self, current: Any) -> str:
        return shlex.join(["vcb", "verify", "--depth", "grains", str(current.directory)])

    def why_not(self, command: Command) -> str:
        if (
            command.id in ("points.verify", "points.restore", "points.files", "points.serve", "points.retain")
            and self.current is None
        ):
            return "There is no restore point here." if self.found is not None else "The points are being read."
        return super().why_not(command)

    def action_again(self) -> None:
        self.look()

    def action_verify(self) -> None:
        from tui.screens.verify_depth import VerifyDepth  # noqa: PLC0415 - a dialog is imported when it is wanted

        point: Point = self.current

        def chosen(depth: str | None) -> None:
            if depth:
                order = VerifyOrder(Depth(depth))
                self.start(Act.VERIFY, str(point.directory), name=self.vm, order=order)

        self.app.push_screen(VerifyDepth(point.directory), chosen)

    def action_restore(self) -> None:
        from tui.screens.restore import RestoreScreen  # noqa: PLC0415

        point: Point = self.current

        def chosen(order: RestoreOrder | None) -> None:
            if order:
                self.start(Act.RESTORE, str(point.directory), name=self.vm, order=order)

        self.app.push_screen(RestoreScreen(point), chosen)

    def action_files(self) -> None:
        from tui.screens.files import FilesScreen  # noqa: PLC0415

        self.app.push_screen(FilesScreen(self.current, self.settings), self._followed)

    def _followed(self, job: str | None) -> None:
        """A job that was started from a dialog above is what this one answers with."""
        if job:
            self.dismiss(job)

    def action_serve(self) -> None:
        same = shlex.join(["vcb", "serve", str(self.current.directory)])
        self.app.notify(self.app.copy(on_file(same, self.app.document_path)), title="Serve")

    def action_retain(self) -> None:
        from engine.flow import retain  # noqa: PLC0415 - the image code only where it is used

        catalogue, wanted = self.catalogue, [self.identity]

        def work() -> None:
            if catalogue is not None:
                (plan,) = retain.plan_of(catalogue, self.settings, StateDirectory.default(), wanted)
                self.app.call_from_thread(self._ask_retain, plan)

        self.run_worker(work, thread=True, exclusive=True, group="points-retain")

    def _ask_retain(self, plan: Any) -> None:
        going = [*plan.going, *plan.merged]
        shown = [line.plain.strip() for line in retention_lines(plan)[1:]]
        if not going:
            self.app.notify("\n".join(shown[:8]), title="Nothing is to go", timeout=12, markup=False)
            return
        words = shlex.join(["vcb", "retain", str(going[0].directory.parent)])
        agreed = tuple(str(point.directory) for point in going)

        def answered(yes: bool | None) -> None:
            if yes:
                self.start(Act.RETAIN, str(going[0].directory.parent), name=self.vm, order=RetainOrder(agreed))

        kept = [line for line in shown if line.startswith("keep")]
        gone = [line for line in shown if not line.startswith("keep")]
        freed = size(sum(point.stored for point in plan.going))
        sentence = f"By the KEEP_ options these points go for good ({freed}); {len(kept)} stay."
        self.app.push_screen(Confirm("Clear out", sentence, gone, verb="Remove", command_line=words), answered)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
