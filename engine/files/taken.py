"""What came out of a restore point, and what did not."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from engine.events import ResultState
from engine.files.entry import Kind
from engine.files.walk import Remarks


@dataclass(slots=True)
class Taken:
    """`read` bytes came from the guest's files, holes not counted. `troubles` did not come out as they are; `skipped`
    are devices, pipes and sockets, which have no content."""

    counts: Counter[Kind] = field(default_factory=Counter)
    read: int = 0
    troubles: Remarks = field(default_factory=Remarks)
    skipped: Remarks = field(default_factory=Remarks)
    remarks: tuple[str, ...] = ()

    @property
    def state(self) -> ResultState:
        if not self.troubles.count:
            return ResultState.SUCCESS
        return ResultState.EXCEPTIONS if self.counts else ResultState.FAILURE

    @property
    def sentence(self) -> str:
        parts = [
            f"{self.counts[kind]:,} {one if self.counts[kind] == 1 else many}"
            for kind, one, many in (
                (Kind.FILE, "file", "files"),
                (Kind.DIRECTORY, "directory", "directories"),
                (Kind.SYMLINK, "symlink", "symlinks"),
            )
            if self.counts[kind]
        ]
        text = ", ".join(parts) or "Nothing"
        if self.skipped.count:
            text += f"; {self.skipped.count:,} of devices, pipes and sockets left out"
        if self.troubles.count:
            text += f"; {self.troubles.count:,} exception{'s' * (self.troubles.count > 1)}"
        return f"{text}."

    def to_json(self) -> dict[str, Any]:
        return {
            "result": self.state.value,
            "exit_code": self.state.exit_code,
            "sentence": self.sentence,
            "files": self.counts[Kind.FILE],
            "directories": self.counts[Kind.DIRECTORY],
            "symlinks": self.counts[Kind.SYMLINK],
            "bytes_read": self.read,
            "exceptions": _rows(self.troubles),
            "exceptions_count": self.troubles.count,
            "left_out": _rows(self.skipped),
            "left_out_count": self.skipped.count,
            "remarks": list(self.remarks),
        }


def _rows(remarks: Remarks) -> list[dict[str, str]]:
    return [{"path": path, "text": text} for path, text in remarks.told]
