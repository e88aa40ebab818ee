"""The console itself: `python -m tests.benchmarks.console.ours VMS STATE`.

With so many VMs, which no vCenter has, and with the job that runs under the state directory STATE.
"""

import os
import sys

from engine.config.options import Settings
from engine.jobs.inventory_rows import DiskRow, MachineRow, PlaceRow, Rows, Status
from tui import terminal

PLACES = (
    PlaceRow(id="dc-1", kind="datacenter", name="Vienna"),
    PlaceRow(id="vms", kind="folder", name="vm", parent="dc-1"),
)


def machine(number: int) -> MachineRow:
    disk = DiskRow(key=2000, name="scsi0:0", label="Hard disk 1", capacity=40 << 30, allocated=9 << 30, datastore="ds1")
    return MachineRow(id=f"m{number}", name=f"vm{number:05}", folder="vms", power="poweredOn", disks=(disk,))


def main(machines: int, state: str) -> None:
    os.environ["VCB_STATE_DIR"] = state
    profile = terminal.profile(os.environ)
    profile.prepare(os.environ)
    from tests.benchmarks.console.probe import probed  # noqa: PLC0415 - these import Textual
    from tui.app import VcbApp  # noqa: PLC0415

    class Loaded(probed(VcbApp)):  # type: ignore[misc]
        """The inventory comes as a worker would bring it."""

        def on_mount(self) -> None:
            self.call_after_refresh(self._load)

        def _load(self) -> None:
            feed = self.main_screen.panes["inventory"].feed  # type: ignore[attr-defined]
            feed._take(Status(state="live", since=0, vcenter="vc01", host="vc01.example.org"))
            feed._take(Rows(rows=PLACES))
            for first in range(0, machines, 250):
                feed._take(Rows(rows=tuple(map(machine, range(first, min(machines, first + 250))))))

    Loaded(Settings.of(), profile=profile).run()  # type: ignore[call-arg]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
