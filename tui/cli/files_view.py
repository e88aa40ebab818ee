"""What lies inside a restore point, as text and in JSON. Names are the guest's, and are shown as such: escaped."""

import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.text import Text

from engine.cancel import CancelToken
from engine.errors import ConfigError, VcbError
from engine.files.entry import Entry, Kind
from engine.files.point_volumes import LookedAt, PointVolumes, Volume
from engine.files.taken import Taken
from engine.files.walk import Remarks
from tui.cli import render
from tui.figures import clean, fit, size

_TYPES = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.DEVICE: stat.S_IFCHR,
    Kind.PIPE: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
    Kind.UNKNOWN: 0,
}
_STYLES = {Kind.DIRECTORY: "bold blue", Kind.SYMLINK: "cyan", Kind.UNKNOWN: "red"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 20


def volume_row(volume: Volume, cancel: CancelToken) -> dict[str, Any]:
    """A volume with its label, after a try to open it. Raises ConfigError when the readers are not installed."""
    label, error = "", None
    if not volume.why:
        try:
            label = volume.open(cancel).label
        except ConfigError:
            raise
        except VcbError as damage:
            error = damage.to_json()
    return {
        "path": volume.name,
        "kind": volume.kind,
        "title": volume.title,
        "size": volume.size,
        "label": label,
        "readable": not volume.why and error is None,
        "reason": volume.why,
        "error": error,
    }


def disk_row(disk: LookedAt) -> dict[str, Any]:
    return {
        "name": disk.name,
        "label": disk.label,
        "capacity": disk.capacity,
        "scheme": disk.scheme,
        "findings": disk.findings,
        "notes": disk.notes,
    }


def volumes_table(volumes: PointVolumes, rows: Sequence[dict[str, Any]], width: int) -> list[Text]:
    """The disks, then the volumes by the name that a path begins with."""
    lines = []
    for disk in volumes.disks:
        scheme = {"gpt": "GPT", "mbr": "MBR"}.get(disk.scheme, "no partition table")
        lines.append(
            Text.assemble((clean(disk.name), "bold"), f"  {clean(disk.label)}, {size(disk.capacity)}, {scheme}")
        )
        lines += [Text(f"  {clean(text)}", "red") for text in disk.findings]
        lines += [Text(f"  {clean(text)}", "cyan") for text in disk.notes]
    lines += [Text(clean(text), "red") for text in volumes.findings]
    wide = max((len(clean(row["path"])) for row in rows), default=0)
    lines.append(Text())
    for row in rows:
        head = f"{fit(clean(row['path']), wide)}  {size(row['size']):>9}  {row['title']}"
        label = f"  {clean(row['label'])}" if row["label"] else ""
        lines.append(Text.assemble((head, "" if row["readable"] else "dim"), (label, "green")))
        if row["reason"]:
            lines.append(Text(f"    {clean(row['reason'])}", "dim"))
        lines += render.failure(row["error"], width)
    return lines


def entry_lines(entries: Sequence[Entry], *, long: bool) -> list[Text]:
    """One a line; `long` as ls -l does it, in UTC."""
    lines = []
    for entry in entries:
        name = Text(clean(entry.name), _STYLES.get(entry.kind, ""))
        if not long:
            lines.append(name)
            continue
        mode = stat.filemode(_TYPES[entry.kind] | entry.mode)
        owner = f"{entry.owner:>6} {entry.group:>6}"
        arrow = f" -> {clean(entry.target)}" if entry.target else ""
        when = f"{moment(entry.modified):%Y-%m-%d %H:%M}"
        lines.append(Text.assemble(f"{mode} {entry.links:>3} {owner} {entry.size:>14} {when} ", name, arrow))
    return lines


def entry_remarks(entries: Sequence[Entry], remarks: Sequence[str]) -> list[Text]:
    """What is not as it should be, and what is to be known of all."""
    told = Remarks()
    for entry in entries:
        told.add(entry.name, entry.unreadable or entry.remark)
    return _told(told, "remark") + [Text(f"note: {text}", "cyan") for text in remarks]


def entry_row(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind.value,
        "size": entry.size,
        "mode": f"{entry.mode:04o}",
        "owner": entry.owner,
        "group": entry.group,
        "links": entry.links,
        "modified": moment(entry.modified).isoformat(),
        "target": entry.target,
        "unreadable": entry.unreadable,
        "remark": entry.remark,
    }


def taken_lines(taken: Taken) -> list[Text]:
    """How a taking out ended: what came, what did not, and what is to be known of all."""
    word = taken.state.value.upper()
    lines = [
        Text.assemble((word, render.STATE_STYLES[taken.state.value]), f"  {taken.sentence} {size(taken.read)} read.")
    ]
    lines += _told(taken.troubles, "exception")
    lines += _told(taken.skipped, "left out")
    return lines + [Text(f"note: {text}", "cyan") for text in taken.remarks]


def moment(nanoseconds: int) -> datetime:
    """The time, or the epoch for one beyond all calendars."""
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return _EPOCH


def _told(remarks: Remarks, word: str) -> list[Text]:
    style = "cyan" if word == "left out" else "yellow"
    lines = [
        Text.assemble((f"{word}: ", style), f"{clean(path)}: {clean(text)}") for path, text in remarks.told[:_SHOWN]
    ]
    if remarks.count > _SHOWN:
        lines.append(Text(f"{word}: and {remarks.count - _SHOWN:,} more", style))
    return lines
