"""Plan and result as text, from their JSON forms: never wider than `width`, readable without colour."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from tui.figures import age, clean, duration, fit, rate, share, size

STATE_STYLES = {
    "success": "bold green",
    "completed with exceptions": "bold yellow",
    "failure": "bold red",
    "cancelled": "bold magenta",
}
_SEVERITY_STYLES = {"error": "red", "warning": "yellow", "note": "cyan"}
_LABEL = 15
_QUIESCE = {True: "the guest can be quiesced", False: "the guest cannot be quiesced (VMware Tools do not run)"}

Row = dict[str, Any]


def plan(shape: Row, width: int, *, warnings: bool = True) -> list[Text]:
    """What a run would do. `warnings` is False where the run itself tells them next."""
    lines = [Text.assemble(("Plan for ", "bold"), (clean(shape["vm"]), "bold cyan"))]
    lines += fields(_plan_fields(shape), width)
    lines += [Text(), *_plan_disks(shape["disks"], width), *_plan_total(shape, width)]
    lines += _snapshots(shape.get("snapshots", ()), width)
    lines += _privileges(shape.get("privileges_missing", ()), width)
    for finding in shape.get("findings", ()):
        lines += _remark(finding["severity"], finding["text"], width)
    for warning in shape.get("warnings", ()) if warnings else ():
        lines += _remark("warning", warning, width)
    return [*lines, *failure(shape.get("error"), width)]


def summary(shape: Row, width: int) -> list[Text]:
    """How a run ended: state, figures, transport, stages, restore point, and what went wrong."""
    state = shape["state"]
    style = STATE_STYLES.get(state, "bold")
    lines = [Text.assemble((state.upper(), style), f"  {clean(shape.get('vm', ''))}".rstrip())]
    if shape.get("error") and state != "cancelled":
        lines += failure(shape["error"], width)
    else:
        lines += _wrapped(clean(shape["sentence"]), width, "  ")
    lines += fields(_summary_fields(shape), width)
    if shape.get("disks"):
        lines += [Text(), *_summary_disks(shape, width)]
    lines += _stages(shape.get("stages", ()), width)
    for warning in shape.get("warnings", ()):
        lines += _remark("warning", warning, width)
    for left in shape.get("leftovers", ()):
        lines += _remark("left behind", left, width, "bold red")
    return lines


def failure(error: Row | None, width: int) -> list[Text]:
    """Sentence, raw fault name and advice of an error in its JSON form."""
    if not error:
        return []
    lines = _remark("error", error["sentence"], width)
    if error.get("fault"):
        lines += _remark("fault", error["fault"], width, "dim")
    if error.get("hint"):
        lines += _remark("what to do", error["hint"], width, "bold")
    return lines


def fields(rows: Iterable[tuple[str, str]], width: int) -> list[Text]:
    """Labels and values in two columns; a long value goes on below itself, a path is never cut."""
    return [
        line for label, value in rows if value for line in _field(label, _cut(clean(value), width - _LABEL - 2) or [""])
    ]


def _field(label: str, value: Sequence[str]) -> list[Text]:
    first, *rest = value
    head = Text.assemble("  ", (fit(label, _LABEL), "dim"), first)
    return [head, *(Text(" " * (_LABEL + 2) + line) for line in rest)]


def _plan_fields(shape: Row) -> list[tuple[str, str]]:
    quiesce, snapshot, space = shape.get("quiesce", {}), shape.get("snapshot", {}), shape.get("space", {})
    possible = f"; {_QUIESCE[quiesce['possible']]}" if "possible" in quiesce and quiesce["asked"] != "off" else ""
    policy = f"{snapshot.get('policy', '')}: {snapshot.get('action') or snapshot.get('why') or ''}".rstrip(": ")
    floor = f" (of which {size(space['keep_free'])} stay free)" if space.get("keep_free") else ""
    found = shape.get("mount_point", {})
    return [
        ("Inventory", shape.get("path", "")),
        ("Object", ", ".join(part for part in (shape.get("moref", ""), shape.get("power", "")) if part)),
        ("Transport", ", ".join(part for part in (shape.get("transport", ""), shape.get("format", "")) if part)),
        ("Snapshot", policy),
        ("Quiesce", f"{quiesce.get('asked', '')}{possible}"),
        (
            "Goes to",
            found.get("path", "") + ("" if found.get("found") in (None, "nothing") else f" ({found['found']})"),
        ),
        ("Space", f"at most {size(space['needed'])} needed, {size(space['free'])} free{floor}" if space else ""),
    ]


def _plan_disks(disks: Sequence[Row], width: int) -> list[Text]:
    label = _label_width(disks, width, 55)
    lines = [
        Text(
            f"  {fit('Disk', 9)} {fit('Label', label)}  {'Capacity':>9} {'Allocated':>10} {'To move':>9}  Action",
            "bold",
        )
    ]
    for disk in disks:
        skipped = disk.get("skipped")
        method = disk.get("method") or {}
        action = "skip" if skipped else method.get("kind", "export")
        lines.append(
            Text.assemble(
                f"  {fit(clean(disk['name']), 9)} {fit(clean(disk['label']), label)}  {size(disk['capacity']):>9} "
                f"{size(disk['allocated']):>10} {size(disk['to_read']):>9}  ",
                (action, "yellow" if skipped else "green"),
            )
        )
        lines += _detail(f"{disk['file']}, {disk['mode'].replace('_', ' ')}", width, "dim")
        if skipped:
            lines += _detail(f"{skipped['code']}: {skipped['reason']}", width, "yellow")
        elif method:
            lines += _detail(method["reason"], width, "dim")
    return lines


def _plan_total(shape: Row, width: int) -> list[Text]:
    disks, skipped = shape["disks"], shape.get("disks_skipped", ())
    count = f"{len(disks)} disk{'' if len(disks) == 1 else 's'}" + (f", {len(skipped)} skipped" if skipped else "")
    moved = shape.get("bytes_to_read", sum(disk["to_read"] for disk in disks))
    sizes = f"{size(shape['bytes_provisioned'])} provisioned, {size(shape['bytes_allocated'])} allocated"
    return _wrapped(f"{count}: {sizes}, {size(moved)} to move", width, "  ", "bold")


def _snapshots(snapshots: Sequence[Row], width: int) -> list[Text]:
    if not snapshots:
        return []
    lines = [Text("  Snapshots of this VM", "bold")]
    for one in snapshots:
        text = f'"{clean(one["name"])}", {age(one["created"])}, {clean(one["owner"])}'
        moref = f" ({one['moref']})" if one.get("moref") else ""
        lines += _wrapped(text + moref, width, "    ")
    return lines


def _privileges(missing: Sequence[Any], width: int) -> list[Text]:
    lines: list[Text] = []
    for one in missing:
        entity, privilege = (one["entity"], one["privilege"]) if isinstance(one, dict) else one
        lines += _remark("error", f"missing privilege {privilege} on {entity}", width)
    return lines


def _summary_fields(shape: Row) -> list[tuple[str, str]]:
    quiesce, snapshot = shape.get("quiesce", {}), shape.get("snapshot", {})
    reached = quiesce.get("reached", "")
    asked = f" (asked: {quiesce['asked']})" if reached and quiesce.get("asked") else ""
    taken = ", ".join(part for part in (snapshot.get("moref", ""), snapshot.get("fate", "")) if part)
    provisioned, allocated = shape.get("bytes_provisioned", 0), shape.get("bytes_allocated", 0)
    read, stored = shape.get("bytes_read", 0), shape.get("bytes_stored", 0)
    rows = [("Snapshot", f"{snapshot.get('name', '')} {taken}".strip() if taken else "")]
    if shape.get("act") == "unmount":
        return rows
    rows = [("Transport", shape.get("transport", "")), ("Quiesce", reached + asked), *rows]
    if "bytes_provisioned" in shape and (read or shape.get("point")):
        rows += [
            ("Provisioned", f"{size(provisioned)}, of which {size(allocated)} allocated"),
            ("Read", f"{size(read)} ({share(read, provisioned)} of provisioned)"),
            ("Stored", size(stored) + (f" ({share(stored, read)} of what was read)" if read else "")),
        ]
    where = "Mount point" if shape.get("act") == "mount" else "Restore point"
    return [*rows, (where, shape.get("point") or "")]


def _summary_disks(shape: Row, width: int) -> list[Text]:
    disks = shape["disks"]
    label = _label_width(disks, width, 55)
    lines = [
        Text(
            f"  {fit('Disk', 9)} {fit('Label', label)}  {'Capacity':>9} {'Read':>9} {'Stored':>9} {'Time':>11}", "bold"
        )
    ]
    for disk in disks:
        start = f"  {fit(clean(disk['name']), 9)} {fit(clean(disk['label']), label)}  {size(disk['capacity']):>9} "
        if skipped := disk.get("skipped"):
            lines.append(Text.assemble(start, ("  skipped", "yellow")))
            lines += _detail(f"{skipped['code']}: {skipped['reason']}", width, "yellow")
        elif disk.get("files") or disk.get("target"):
            took = duration(disk["seconds"])
            lines.append(Text(f"{start}{size(disk['read']):>9} {size(disk['stored']):>9} {took:>11}"))
            detail = (
                disk.get("transport", ""),
                rate(disk["read"], disk["seconds"]),
                _files(disk.get("files", ())) or clean(disk["target"]),
            )
            lines += _detail(", ".join(part for part in detail if part), width, "dim")
            if method := disk.get("method"):
                lines += _detail(f"{method['kind']}: {method['reason']}", width, "dim")
        else:
            lines.append(Text.assemble(start, ("  not exported", "red")))
    return lines


def _files(files: Sequence[Row]) -> str:
    return " + ".join(file["name"] for file in files)


def _stages(stages: Sequence[Row], width: int) -> list[Text]:
    if not stages:
        return []
    pieces = []
    for one in stages:
        outcome = "" if one["outcome"] == "ok" else f" ({one['outcome']})"
        pieces.append(f"{one['stage']} {duration(one['seconds'])}{outcome},")
    pieces[-1] = pieces[-1].rstrip(",")
    return _field("Stages", _filled(pieces, width - _LABEL - 2))


def _label_width(disks: Sequence[Row], width: int, others: int) -> int:
    longest = max((cell_len(clean(disk["label"])) for disk in disks), default=5)
    return max(5, min(longest, width - others))


def _remark(word: str, text: str, width: int, style: str = "") -> list[Text]:
    first, *rest = _cut(clean(text), width - len(word) - 4) or [""]
    head = Text.assemble("  ", (f"{word}:", style or _SEVERITY_STYLES.get(word, "")), f" {first}")
    return [head, *(Text(" " * (len(word) + 4) + line) for line in rest)]


def _detail(text: str, width: int, style: str) -> list[Text]:
    return [Text(f"            {line}", style) for line in _cut(clean(text), width - 12)]


def _wrapped(text: str, width: int, indent: str, style: str = "") -> list[Text]:
    return [Text(indent + line, style) for line in _cut(text, width - len(indent))]


def _cut(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken between words only: a path stays in one piece to be copied."""
    return _filled(text.split(), width)


def _filled(pieces: Iterable[str], width: int) -> list[str]:
    """The pieces in lines of at most `width` columns; no piece is broken."""
    lines: list[str] = []
    for piece in pieces:
        if lines and cell_len(lines[-1]) + 1 + cell_len(piece) <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(piece)
    return lines
