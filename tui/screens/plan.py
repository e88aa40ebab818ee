"""The plan dialog: what a job would do, disk by disk, before anything is touched; Enter starts it."""

import shlex
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text

from engine.config.options import Settings
from engine.errors import VcbError
from engine.jobs import supervisor
from engine.jobs.inventory_rows import MachineRow, Planned
from engine.jobs.request import Act
from tui.cli import render
from tui.commands import Command
from tui.feed_inventory import InventoryFeed
from tui.figures import clean, size
from tui.screens.text_dialog import TextDialog


class PlanScreen(TextDialog[str | None]):
    """Gives the id of the started job, or None."""

    commands: ClassVar[tuple[Command, ...]] = (
        Command(
            "plan.start",
            "Start",
            "Starts the job, which goes on whatever becomes of the console.",
            ("enter",),
            footer="Start",
        ),
    )

    def __init__(self, act: Act, machines: Sequence[MachineRow], settings: Settings, feed: InventoryFeed) -> None:
        self.act, self.machines, self.settings, self.feed = act, machines, settings, feed
        names = clean(machines[0].name) if len(machines) == 1 else f"{len(machines)} VMs"
        same = shlex.join(["vcb", act.value, *self.specs])
        super().__init__(f" {'Back up' if act is Act.BACKUP else 'Mount'} {names} ", same)
        self.planned: Planned | None = None
        self.failure: VcbError | None = None

    def on_mount(self) -> None:
        super().on_mount()
        self.run_worker(self._ask())

    async def _ask(self) -> None:
        try:
            self.planned = await self.feed.plan(self.specs, self.settings)
        except VcbError as error:
            self.failure = error
        self.fill()

    @property
    def specs(self) -> list[str]:
        """By moref: names need not be unique."""
        return [f"moref:{vm.id}" for vm in self.machines]

    @property
    def startable(self) -> list[str]:
        """The specifications of the VMs that nothing stands in the way of."""
        plans = self.planned.plans if self.planned else ()
        return [f"moref:{plan['moref']}" for plan in plans if not plan["error"]]

    def fill(self) -> None:
        """The plans as far as they are known."""
        if self.failure is not None:
            self.show(render.failure(self.failure.to_json(), self.room))
        elif self.planned is None:
            self.show([Text("Asking vCenter what would happen ...", "dim")])
        else:
            self.show(self._lines(self.planned))

    def _lines(self, planned: Planned) -> list[Text]:
        lines: list[Text] = []
        if len(self.machines) > 1:
            lines += [*self._totals(planned), Text()]
        for plan in planned.plans:
            lines += [*render.plan(plan, self.room), Text()]
        for spec, trouble in planned.troubles.items():
            fields = {"sentence": trouble.sentence, "fault": trouble.fault, "hint": trouble.hint}
            lines += [Text(self._name(spec), "bold"), *render.failure(fields, self.room), Text()]
        left = len(self.machines) - len(self.startable)
        if not self.startable:
            lines.append(Text("Nothing can be started as it stands.", "bold"))
        elif left:
            lines.append(Text(f"Enter starts the {len(self.startable)} that can be done; {left} can't.", "bold"))
        return lines

    def _totals(self, planned: Planned) -> list[Text]:
        """Of all plans together; they share the space of one BACKUPROOT."""
        needed = sum(plan["space"]["needed"] for plan in planned.plans)
        to_read = sum(plan["bytes_to_read"] for plan in planned.plans)
        free = min((plan["space"]["free"] - plan["space"]["keep_free"] for plan in planned.plans), default=0)
        skipped = sum(len(plan["disks_skipped"]) for plan in planned.plans)
        lines = [
            Text(f"{len(self.startable)} of {len(self.machines)} VMs can be done now, one after the other.", "bold"),
            Text(f"{size(to_read)} to read; at most {size(needed)} needed, {size(max(0, free))} may be used."),
        ]
        if skipped:
            lines.append(Text(f"{skipped} disks are skipped; the reasons stand below.", "yellow"))
        if needed > free:
            lines.append(Text(f"If nothing compresses, {size(needed - free)} will be missing.", "yellow"))
        return lines

    def _name(self, spec: str) -> str:
        return clean(self._known_as(spec))

    def _known_as(self, spec: str) -> str:
        return next((vm.name for vm in self.machines if f"moref:{vm.id}" == spec), spec)

    def why_not(self, command: Command) -> str:
        if command.id == "plan.start" and not self.startable:
            return "The plan is not there yet." if not (self.planned or self.failure) else "Nothing can be started."
        return super().why_not(command)

    def action_start(self) -> None:
        """One job with all VMs; a mount is one job each, as on the command line."""
        groups = [self.startable] if self.act is Act.BACKUP else [[spec] for spec in self.startable]
        try:
            started = [
                supervisor.start(self.act, specs, self.settings, names=[self._known_as(spec) for spec in specs])
                for specs in groups
            ]
        except VcbError as error:
            self.failure = error
            self.fill()
            return
        self.app.notify(f"Job {started[0].id} runs on its own.", title="Started")
        self.dismiss(started[0].id)
