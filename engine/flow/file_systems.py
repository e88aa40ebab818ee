"""Whether a file system is sound, by the word of the platform's own checkers: one row a kind.

They look at a copy (`engine.image.carve`), so what a start of the guest would do first may be done: the journal of a
running guest's ext4 is replayed before it is judged, a FAT's mark of being mounted is taken off.
"""

import os
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import IO

from engine.cancel import CancelToken
from engine.config.secrets import child_environment
from engine.image.carve import Carved
from engine.image.volumes import EXT, FAT, NTFS, SWAP, TITLES, XFS
from engine.secret import redact

_SYSTEM_PROGRAMS = "/usr/sbin:/sbin:/usr/local/sbin"
"""Where checkers lie, and where an ordinary user's PATH does not lead."""
_HEAD, _TAIL = 4096, 4096
"""Bytes of a checker's output that are kept: a ruined file system makes gigabytes of it."""


class Verdict(StrEnum):
    SOUND = "sound"
    DAMAGED = "damaged"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Judged:
    """`text` says why it is damaged or not checked, or what a sound one needed first; `said` is the end of what the
    checker printed, when it was not content."""

    verdict: Verdict
    checker: str = ""
    text: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended, and what it printed. `code` is None for one that was ended because it took too long."""

    code: int | None
    said: str

    def says(self, *words: str) -> bool:
        return any(word in self.said for word in words)


class Checkers:
    """`timeout` (seconds) is for each program; `quiesced` tells whether the guest was at rest for the snapshot."""

    def __init__(self, timeout: float, *, quiesced: bool, cancel: CancelToken) -> None:
        self._timeout, self._quiesced, self._cancel = timeout, quiesced, cancel
        self._rows: Mapping[str, tuple[str, str, Callable[[Carved, str], Judged]]] = {
            EXT: ("e2fsck", "e2fsprogs", self._ext),
            XFS: ("xfs_repair", "xfsprogs", self._xfs),
            NTFS: ("ntfsfix", "ntfs-3g", self._ntfs),
            FAT: ("fsck.fat", "dosfstools", self._fat),
            SWAP: ("swaplabel", "util-linux", self._swap),
        }

    def missing(self, kind: str) -> str:
        """Why this kind can't be checked here; "" when it can."""
        if (row := self._rows.get(kind)) is None:
            return f"vcb has no checker for {TITLES[kind]}"
        name, package, _ = row
        return "" if _find(name) else f"{name} is not installed (Debian: apt install {package})"

    def judge(self, kind: str, volume: Carved) -> Judged:
        """Of a kind that is not `missing`. Raises Cancelled."""
        name, _, check = self._rows[kind]
        return check(volume, name)

    def _ext(self, volume: Carved, name: str) -> Judged:
        """Exit codes: e2fsck(8). The flag: "needs_recovery", 0x4 of s_feature_incompat at byte 96 of the superblock."""
        (features,) = struct.unpack("<I", os.pread(volume.fd, 4, 1024 + 96))
        note = ""
        if features & 0x4:
            self._run(volume, name, "-p")
            note = "its journal was replayed first, on the copy, as the guest's next start would"
        ran = self._run(volume, name, "-f", "-n")
        if ran.says("unsupported feature", "newer version of e2fsck", "external journal"):
            return Judged(Verdict.UNCHECKED, name, "this e2fsck can't judge it", ran.said)
        return self._by_code(name, ran, note)

    def _xfs(self, volume: Carved, name: str) -> Judged:
        """xfs_repair(8) replays no log: only the kernel does, when it mounts."""
        ran = self._run(volume, name, "-n", "-f")
        if ran.says("a more recent xfs_repair"):
            return Judged(Verdict.UNCHECKED, name, "this xfs_repair is too old for it", ran.said)
        if not ran.says("valuable metadata changes in a log"):
            return self._by_code(name, ran, "")
        if ran.code == 1:
            text = "its log has to be replayed by a mount before it can be judged; that is no damage"
            return Judged(Verdict.UNCHECKED, name, text, ran.said)
        return self._by_code(name, ran, "its log is to be replayed by the next mount, which is no damage")

    def _ntfs(self, volume: Carved, name: str) -> Judged:
        """ntfsfix looks at the boot sectors and at $MFT and its mirror; ntfsresize, of the same package, goes through
        all files and counts their clusters."""
        ran = self._run(volume, name, "-n")
        if ran.says("hibernated", "unsafe state"):
            return Judged(Verdict.UNCHECKED, name, "Windows is hibernated in it: it can't be judged", ran.said)
        judged = self._by_code(name, ran, "")
        if judged.verdict is not Verdict.SOUND or not _find("ntfsresize"):
            return judged
        ran = self._run(volume, "ntfsresize", "--info", "--force", "--force", "--no-progress-bar")
        if ran.code and not self._quiesced:
            text = "its files do not add up; the guest was not at rest, so that may be the log that Windows replays"
            return Judged(Verdict.UNCHECKED, "ntfsresize", text, ran.said)
        return self._by_code(f"{name}, ntfsresize", ran, "")

    def _fat(self, volume: Carved, name: str) -> Judged:
        """A mounted FAT bears a mark (bit 0 of byte 37, on FAT32 of byte 65), which fsck.fat counts as damage."""
        head = os.pread(volume.fd, 90, 0)
        at = 65 if head[82:87] == b"FAT32" else 37
        note = ""
        if head[at] & 1:
            os.pwrite(volume.fd, bytes([head[at] & 0xFE]), at)
            note = "it was mounted, as of a running guest; that is no damage"
        return self._by_code(name, self._run(volume, name, "-n"), note)

    def _swap(self, volume: Carved, name: str) -> Judged:
        return self._by_code(name, self._run(volume, name), "")

    def _by_code(self, name: str, ran: Ran, note: str) -> Judged:
        if ran.code is None:
            return Judged(Verdict.UNCHECKED, name, f"{name} did not come to an end in {self._timeout:.0f} s", ran.said)
        if ran.code < 0:
            return Judged(Verdict.UNCHECKED, name, f"{name} was ended by signal {-ran.code}", ran.said)
        if ran.code:
            return Judged(Verdict.DAMAGED, name, f"{name} found damage (exit code {ran.code})", ran.said)
        return Judged(Verdict.SOUND, name, note)

    def _run(self, volume: Carved, name: str, *arguments: str) -> Ran:
        return run_bounded([_find(name) or name, *arguments, str(volume.path)], self._timeout, self._cancel)


def run_bounded(command: Sequence[str], timeout: float, cancel: CancelToken) -> Ran:
    """Runs a program in a process group of its own, which is gone when this returns. The beginning and the end of its
    output are kept, without secrets. Raises Cancelled."""
    with subprocess.Popen(  # noqa: S603 - a program of the system, on a file of ours
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=child_environment() | {"LC_ALL": "C"},
        start_new_session=True,
    ) as process:
        kept = bytearray()
        assert process.stdout is not None
        reader = threading.Thread(target=_keep, args=(process.stdout, kept), daemon=True)
        reader.start()
        code: int | None = None
        try:
            with cancel.on_cancel(lambda: _end(process)), suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout)
        finally:
            _end(process)
            reader.join()
    cancel.check()
    return Ran(code, _text(kept))


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _keep(stream: IO[bytes], kept: bytearray) -> None:
    while block := stream.read1(65536):  # type: ignore[attr-defined] - a pipe is a BufferedReader
        kept += block
        if len(kept) > _HEAD + 2 * _TAIL:
            kept[_HEAD:] = b"\n...\n" + kept[-_TAIL:]


def _text(kept: bytearray) -> str:
    lines = (line.strip() for line in redact(bytes(kept).decode(errors="replace")).splitlines())
    return "\n".join("".join(char if char.isprintable() else " " for char in line) for line in lines if line)


def _find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SYSTEM_PROGRAMS)
