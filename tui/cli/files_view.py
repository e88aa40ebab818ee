"""What lies inside a restore point, as text and in JSON. Names are the guest's, and are shown as such: escaped."""

import stat
from collections.abc import Sequence

from rich.text import Text

from engine.files.entry import Entry, Kind
from engine.files.listing import FileList, VolumeList
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
_SHOWN = 20


def volumes_table(found: VolumeList, width: int) -> list[Text]:
    """The disks, then the volumes by the name that a path begins with."""
    lines = []
    for disk in found.disks:
        scheme = {"gpt": "GPT", "mbr": "MBR"}.get(disk.scheme, "no partition table")
        about = f"  {clean(disk.label)}, {size(disk.capacity)}, {scheme}"
        lines.append(Text.assemble((clean(disk.name), "bold"), about))
        lines += [Text(f"  {clean(text)}", "cyan") for text in disk.notes]
    lines += [Text(clean(text), "red") for text in found.findings]
    wide = max((len(clean(each.volume.name)) for each in found.volumes), default=0)
    lines.append(Text())
    for each in found.volumes:
        volume = each.volume
        head = f"{fit(clean(volume.name), wide)}  {size(volume.size):>9}  {volume.title}"
        label = f"  {clean(each.label)}" if each.label else ""
        lines.append(Text.assemble((head, "" if each.readable else "dim"), (label, "green")))
        if volume.why:
            lines.append(Text(f"    {clean(volume.why)}", "dim"))
        lines += render.failure(each.error.to_json() if each.error else None, width)
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
        when = f"{entry.moment:%Y-%m-%d %H:%M}"
        lines.append(Text.assemble(f"{mode} {entry.links:>3} {owner} {entry.size:>14} {when} ", name, arrow))
    return lines


def entry_remarks(found: FileList, width: int) -> list[Text]:
    """What is not as it should be, and what is to be known of all."""
    told = Remarks()
    for entry in found.entries:
        if text := entry.unreadable or entry.remark:
            told.add(entry.name, text)
    notes = [Text(f"note: {text}", "cyan") for text in found.remarks]
    return _told(told, "remark") + notes + render.failure(found.error.to_json() if found.error else None, width)


def taken_lines(taken: Taken) -> list[Text]:
    """How a taking out ended: what came, what did not, and what is to be known of all."""
    word = taken.state.value.upper()
    lines = [
        Text.assemble((word, render.STATE_STYLES[taken.state.value]), f"  {taken.sentence} {size(taken.read)} read.")
    ]
    lines += _told(taken.troubles, "exception")
    lines += _told(taken.skipped, "left out")
    return lines + [Text(f"note: {text}", "cyan") for text in taken.remarks]


def _told(remarks: Remarks, word: str) -> list[Text]:
    style = "cyan" if word == "left out" else "yellow"
    lines = [
        Text.assemble((f"{word}: ", style), f"{clean(path)}: {clean(text)}") for path, text in remarks.told[:_SHOWN]
    ]
    if remarks.count > _SHOWN:
        lines.append(Text(f"{word}: and {remarks.count - _SHOWN:,} more", style))
    return lines
