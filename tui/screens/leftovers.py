"""What dead jobs left behind, with the reasons, and the way to be rid of it."""

from collections.abc import Iterable
from typing import Any, ClassVar

from rich.text import Text

from engine.config.options import Settings
from engine.jobs import supervisor
from engine.jobs.orders import ReconcileOrder
from engine.jobs.request import Act
from tui.cli.reconcile_command import listing
from tui.commands import Command
from tui.screens.confirm import Confirm
from tui.screens.looking import LookingScreen


class LeftoversScreen(LookingScreen):
    """Gives the id of the job that cleans up, if there is one."""

    commands: ClassVar[tuple[Command, ...]] = (
        Command("leftovers.clean", "Clean up", "Takes away what dead jobs of this proxy left, in the order shown, "
                "after a yes.", ("c",), footer="Clean up", danger=True),
    )  # fmt: skip

    act = Act.RECONCILE

    def __init__(self, settings: Settings) -> None:
        super().__init__("Leftovers of dead jobs", "vcb reconcile", settings)

    def lines(self, summary: dict[str, Any]) -> Iterable[Text]:
        yield from listing(summary.get("found", []), summary.get("unchecked", []))
        if "found" in summary:
            yield Text(f"\n{summary['sentence']}", "bold")

    @property
    def _ours(self) -> list[dict[str, Any]]:
        found = self.summary.get("found", []) if self.summary else []
        return [row for row in found if row["verdict"] == "ours"]

    def why_not(self, command: Command) -> str:
        if command.id == "leftovers.clean" and not self._ours:
            return "It is still being looked." if self.summary is None else "Nothing here is to be cleaned up."
        return super().why_not(command)

    def action_clean(self) -> None:
        ours = self._ours

        def answered(yes: bool | None) -> None:
            if yes:
                order = ReconcileOrder(tuple(f"{row['kind']} {row['id']}" for row in ours))
                job = supervisor.start(Act.RECONCILE, ["leftovers"], self.settings, order=order)
                self.app.notify(f"Job {job.id} cleans up; the job log shows it.", title="Started")
                self.dismiss(job.id)

        gone = [f"{row['text']}: {row['action']}" for row in ours]
        self.app.push_screen(
            Confirm("Clean up", "In this order, each judged again before it goes:", gone, verb="Clean up",
                    command_line="vcb reconcile --yes"),
            answered,
        )  # fmt: skip
