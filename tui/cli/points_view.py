"""Restore points, looks at them and decisions about them, as text and in JSON."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from engine.points.catalog import Catalogue, Point
from engine.points.drills import Drill
from tui.figures import clean, duration, fit, size

_KINDS = {"full": "full", "incremental": "incr.", "mixed": "mixed"}
_DRILLS = defaultdict(str, {"success": "green", "completed with exceptions": "yellow", "failure": "bold red"})


def table(catalogue: Catalogue, of_vm: list[Point], width: int) -> list[Text]:
    """One VM: a head line, then a line for each point, oldest first; columns that don't fit are left out."""
    newest = of_vm[-1].manifest.vm
    columns: list[tuple[str, int, list[str]]] = [
        ("time", 16, [_local(point.manifest.created) for point in of_vm]),
        ("kind", 5, [_KINDS.get(point.kind, "none") for point in of_vm]),
        ("stored", 8, [size(point.stored) for point in of_vm]),
        ("chain", 5, [str(len(catalogue.chain(point))) for point in of_vm]),
        ("by", 6, [point.manifest.transport for point in of_vm]),
        ("quiesced", 8, ["yes" if point.manifest.snapshot.quiesced else "no" for point in of_vm]),
        ("proven", 16, [_proven(catalogue, point) for point in of_vm]),
        ("drilled", 16, [_drilled(catalogue.drill(point)) for point in of_vm]),
        ("disks", 8, [size(sum(disk.capacity for disk in point.manifest.disk)) for point in of_vm]),
        ("point", 18, [point.name for point in of_vm]),
    ]
    while sum(wide + 2 for _, wide, _ in columns) > width and len(columns) > 3:
        columns.pop(-1 if len(columns) > 7 else -2)
    last = catalogue.last_drill(of_vm[-1].identity)
    head = Text.assemble(
        (clean(newest.name), "bold cyan"),
        f"  {newest.moref}  ",
        (clean(newest.path), "dim"),
        (
            f"  last drilled {_local(last.at)}: {last.result}" if last else "  never drilled",
            _DRILLS[last.result if last else ""],
        ),
    )
    titles = Text("  " + " ".join(fit(title, wide + 1) for title, wide, _ in columns).rstrip(), "dim")
    lines = [head, titles]
    for number, point in enumerate(of_vm):
        cells = " ".join(fit(clean(values[number]), wide + 1) for _, wide, values in columns)
        flaw = catalogue.flaw(point)
        lines.append(Text("  " + cells.rstrip(), "red" if flaw else ""))
        if flaw:
            lines.append(Text(f"      {clean(flaw)}", "red"))
    return [*lines, Text()]


def _local(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _proven(catalogue: Catalogue, point: Point) -> str:
    if catalogue.flaw(point) or point.proven is None:
        return "NOT PROVEN"
    return f"{point.proven.astimezone():%Y-%m-%d %H:%M}"


def _drilled(drill: Drill | None) -> str:
    if drill is None:
        return "never"
    return "FAILED" if drill.result == "failure" else _local(drill.at)


def row(catalogue: Catalogue, point: Point) -> dict[str, Any]:
    manifest, flaw, drill = point.manifest, catalogue.flaw(point), catalogue.drill(point)
    chain = catalogue.chain(point)
    return {
        "path": str(point.directory),
        "vm": manifest.vm.name,
        "moref": manifest.vm.moref,
        "vcenter": manifest.vcenter.instance_uuid,
        "created": manifest.created.isoformat(),
        "kind": point.kind,
        "transport": manifest.transport,
        "quiesced": manifest.snapshot.quiesced,
        "quiesce_asked": manifest.snapshot.quiesce_asked,
        "bytes_provisioned": sum(disk.capacity for disk in manifest.disk),
        "bytes_read": sum(disk.read for disk in manifest.disk),
        "bytes_stored": point.stored,
        "bytes_stored_chain": sum(link.stored for link in chain),
        "chain": [link.name for link in chain],
        "needed_by": [other.name for other in catalogue.needed_by(point)],
        "proven": None if flaw or point.proven is None else point.proven.isoformat(),
        "proven_depth": str(point.depth),
        "flaw": flaw,
        "drilled": drill.at.isoformat() if drill else None,
        "drill_result": drill.result if drill else "",
        "disks": [
            {
                "name": disk.name,
                "label": disk.label,
                "capacity": disk.capacity,
                "kind": disk.kind,
                "parent": disk.parent,
            }
            for disk in manifest.disk
        ],
        "disks_skipped": [{"disk": skipped.name, "code": skipped.code} for skipped in manifest.skipped],
    }


def checked_lines(checked: Any) -> list[Text]:
    style, word = ("bold red", "DAMAGED") if checked.findings else ("bold green", "sound")
    read = f"{size(checked.read)} read, {duration(checked.seconds)}"
    lines = [Text.assemble((word, style), f"  {clean(str(checked.directory))}  ", (f"{checked.depth}, {read}", "dim"))]
    for finding in checked.findings:
        where = "" if finding.point == checked.directory else f"{finding.point.name}: "
        lines.append(Text(f"    {clean(where + str(finding))}", "red"))
    return [*lines, *(Text(f"    {clean(note)}", "yellow") for note in checked.notes)]


def checked_row(checked: Any) -> dict[str, Any]:
    return {
        "path": str(checked.directory),
        "depth": str(checked.depth),
        "sound": not checked.findings,
        "findings": [
            {"point": str(finding.point), "file": finding.file, "text": finding.text} for finding in checked.findings
        ],
        "notes": checked.notes,
        "bytes_read": checked.read,
        "seconds": checked.seconds,
        "recorded": checked.recorded,
    }


def merged_row(merged: Any) -> dict[str, Any]:
    return {
        "path": str(merged.point),
        "absorbed": [str(path) for path in merged.absorbed],
        "bytes_before": merged.before,
        "bytes_after": merged.after,
    }


def retention_lines(plan: Any) -> list[Text]:
    lines = [Text(clean(plan.vm), "bold cyan")]
    if plan.hold:
        return [*lines, Text(f"  {clean(plan.hold)}", "yellow")]
    merged = {point.directory: merge.point for merge in plan.merges for point in merge.absorbed}
    for point, decision in plan.decisions:
        word, style = ("keep", "green") if decision.keep else ("REMOVE", "bold red")
        reason = Text(clean(f"{point.name}  {decision.reason}"))
        if (into := merged.get(point.directory)) is not None:
            word, style = "MERGE", "bold red"
            reason = Text(clean(f"{point.name}  becomes part of {into.name}: CHAIN_LENGTH is exceeded"))
        lines.append(Text.assemble("  ", (fit(word, 7), style), reason))
    return lines


def retention_json(plans: Sequence[Any], done: Any, code: int, *, dry_run: bool) -> dict[str, Any]:
    return {
        "result": "failure" if code else "success",
        "exit_code": code,
        "dry_run": dry_run,
        "removed": [str(path) for path in done.removed],
        "merged": [merged_row(merged) for merged in done.merged],
        "bytes_freed": done.freed,
        "vms": [
            {
                "vm": plan.vm,
                "moref": plan.identity[1],
                "held": plan.hold,
                "merges": [
                    {
                        "path": str(merge.point.directory),
                        "absorbs": [str(point.directory) for point in merge.absorbed],
                    }
                    for merge in plan.merges
                ],
                "points": [
                    {
                        "path": str(point.directory),
                        "created": point.manifest.created.isoformat(),
                        "keep": decision.keep,
                        "reason": decision.reason,
                        "bytes": point.stored,
                    }
                    for point, decision in plan.decisions
                ],
            }
            for plan in plans
        ],
    }
