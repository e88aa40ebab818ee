"""vcb inventory: every VM with its disks, what a backup would skip, and the snapshots that are there."""

from typing import Any

import msgspec
from rich.text import Text

from engine.cancel import CancelToken
from engine.reporter import Reporter
from tui.cli.flags import Common, JsonFlag, settings_from, with_password
from tui.cli.job_commands import watched
from tui.cli.screen import Screen
from tui.figures import age, clean, size

_POWER = {"poweredOn": ("on", "green"), "poweredOff": ("off", "dim"), "suspended": ("suspended", "yellow")}
_TROUBLES = (
    ("template", "template"),
    ("fault_tolerant", "fault tolerance"),
    ("encrypted", "encrypted"),
    ("consolidation_needed", "needs consolidation"),
)

Row = dict[str, Any]


def inventory(*, json: JsonFlag = False, common: Common = None) -> int:
    """List the VMs with their disks, the snapshots they have, and the disks that a backup would skip, with reasons."""
    screen = Screen(as_json=json)
    settings = with_password(settings_from(common))
    from engine.flow.job import open_session  # noqa: PLC0415 - pyVmomi takes half a second
    from engine.vsphere.inventory import inventory as read  # noqa: PLC0415

    def rows(report: Reporter, cancel: CancelToken) -> list[Row]:
        session = open_session(settings, report, None)
        try:
            found = []
            for machine in read(session):
                cancel.check()
                found.append(msgspec.to_builtins(machine))
            return found
        finally:
            session.close()

    machines = sorted(watched(screen, settings, rows), key=lambda row: (row["path"], row["moref"]))
    if not screen.as_json:
        for machine in machines:
            screen.show(lines(machine))
        screen.line(f"{len(machines)} VMs", "bold")
    screen.result({"vms": machines})
    return 0


def lines(machine: Row) -> list[Text]:
    """One VM: a head line, then its disks and its snapshots."""
    power, style = _POWER.get(machine["power"], (machine["power"], "yellow"))
    head = Text.assemble((clean(machine["path"] or machine["name"]), "bold"), f"  {machine['moref']}  ", (power, style))
    if machine["connection"] != "connected":
        head.append(f"  {machine['connection']}", "red")
    if address := machine["ip"] or machine["hostname"]:
        head.append(f"  {clean(address)}")
    for name, word in _TROUBLES:
        if machine[name]:
            head.append(f"  {word}", "yellow")
    disks = [line for disk in machine["disks"] for line in _disk(disk)]
    return [head, *disks, *(_snapshot(one) for one in machine["snapshots"])]


def _disk(disk: Row) -> list[Text]:
    allocated = "" if disk["allocated"] is None else f", {size(disk['allocated'])} allocated"
    text = Text(f"    {disk['name']:<9} {clean(disk['label'])}: {size(disk['capacity'])}{allocated}, ")
    text.append(clean(disk["file"]), "dim")
    if skip := disk["skip"]:
        return [text, Text(f"              skipped, {skip['code']}: {clean(skip['text'])}", "yellow")]
    return [text]


def _snapshot(one: Row) -> Text:
    return Text(f'    snapshot  "{clean(one["name"])}", {age(one["created"])}, {one["moref"]}', "cyan")
