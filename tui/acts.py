"""What can be done anywhere in the console and belongs to no pane: mount points, leftovers of dead jobs, the doctor."""

from typing import TYPE_CHECKING, cast

from engine.flow import ledger
from engine.state_directory import StateDirectory
from tui.commands import Command

if TYPE_CHECKING:
    from tui.app import VcbApp


ACTS: tuple[Command, ...] = (
    Command("console.mounts", "Mount points", "The mount points in BACKUPROOT, with their age and owner; unmounts "
            "one after a yes.", ("f7",)),
    Command("console.reconcile", "Leftovers of dead jobs", "Looks for what dead jobs left behind (snapshots, "
            "leases, directories) and takes it away after a yes, naming each thing.", ("f12",)),
    Command("console.doctor", "Doctor", "Looks at configuration, directories, trust, login, privileges, "
            "transports and CBT, and says what to do about each.", ("f6",)),
)  # fmt: skip
"""Part of the App's commands: Textual binds no keys that a mixin declares."""


class Acts:
    """What the console's App does for ACTS."""

    @property
    def _console(self) -> "VcbApp":
        return cast("VcbApp", self)

    def look_for_leftovers(self) -> None:
        """Tells the header how many dead jobs left something open; the ledgers are read in a thread."""
        app = self._console

        def work() -> None:
            found = sum(1 for _ in ledger.left_behind(StateDirectory.default().jobs))
            app.call_from_thread(app.tell, leftovers=found)

        app.run_worker(work, thread=True, group="leftovers", exit_on_error=False)

    def action_mounts(self) -> None:
        from tui.screens.mounts import MountsScreen  # noqa: PLC0415 - a dialog is imported when it is wanted

        self._console.push_screen(MountsScreen(self._console.settings))

    def action_reconcile(self) -> None:
        from tui.screens.leftovers import LeftoversScreen  # noqa: PLC0415

        app = self._console
        app.push_screen(LeftoversScreen(app.settings), lambda _: self.look_for_leftovers())

    def action_doctor(self) -> None:
        from tui.screens.doctor import DoctorScreen  # noqa: PLC0415

        self._console.push_screen(DoctorScreen(self._console.settings))
