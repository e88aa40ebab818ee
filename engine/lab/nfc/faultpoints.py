"""Where the lab's fault rules reach into NFC. All with phase "data"; objects: moref and name of the VM, file path.

    nfc.certificate   a client connects: any action makes the server show another host's certificate (no objects)
    nfc.session       SESSION was claimed: "fault" refuses it with 530, "drop" cuts
    nfc.open          OPEN_FILE          nfc.query   QUERY_ALLOCATED_BLOCKS        nfc.write   a write fragment
    nfc.read          a fragment is about to be sent: "corrupt" flips a bit of its byte `size`, "short" cuts the
                      connection after `size` bytes of it, "slow" sends at `size` bytes a second

"fault" becomes an error reply whose code follows from the fault's type, "drop" cuts the connection, a delay delays.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pyVmomi import vim, vmodl

from engine.lab.faults import Faults, Rule
from engine.lab.nfc.channel import Closed
from engine.lab.nfc.messages import ErrorCode, Refusal

CODES: tuple[tuple[type[vmodl.MethodFault], ErrorCode], ...] = (
    (vim.fault.FileNotFound, ErrorCode.FILE_NOT_FOUND),
    (vim.fault.FileLocked, ErrorCode.ALREADY_LOCKED),
    (vim.fault.CannotAccessFile, ErrorCode.ACCESS_ERROR),
    (vim.fault.NoPermission, ErrorCode.ACCESS_ERROR),
    (vim.fault.FileFault, ErrorCode.FILE_ERROR),
    (vmodl.fault.InvalidArgument, ErrorCode.INVALID_ARGUMENT),
    (vmodl.fault.NotSupported, ErrorCode.NOT_SUPPORTED),
)


@dataclass(frozen=True)
class FaultPoints:
    """The rules as one connection meets them; `objects` name its VM."""

    faults: Faults
    closing: threading.Event
    objects: tuple[str, ...] = ()

    def strike(self, point: str, *objects: str) -> Rule | None:
        """The rule that acts here, if any. Raises Refusal for "fault"; the caller honours other actions."""
        try:
            return self.faults.hit(point, "data", *self.objects, *objects)
        except vmodl.MethodFault as fault:
            code = next((code for kind, code in CODES if isinstance(fault, kind)), ErrorCode.FAIL)
            raise Refusal(code, f"{type(fault).__name__} injected at {point}") from fault

    def pass_or_cut(self, point: str, *objects: str) -> None:
        """For points where nothing is sent piecemeal: any action but a delay or a fault cuts the connection."""
        trouble = self.strike(point, *objects)
        if trouble is not None and trouble.action != "delay":
            raise Closed(f"cut by an injected fault ({trouble.action})")

    def pause(self, seconds: float) -> None:
        self.closing.wait(seconds)
