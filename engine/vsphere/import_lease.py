"""An import lease: ResourcePool.ImportVApp makes a VM and gives URLs that take its disks and its nvram.

Until it is completed the new VM belongs to the lease: an abort, a lost lease or a dead session takes the VM and all of
its files with it (vSphere API reference, ResourcePool.ImportVApp).
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pyVmomi import vmodl

from engine.cancel import CancelToken
from engine.errors import CleanupError, ConnectError
from engine.reporter import Reporter
from engine.vsphere.import_spec import ImportSpec
from engine.vsphere.lease import Lease, device_url
from engine.vsphere.properties import Ref, get
from engine.vsphere.session import Session

_LOOK = 0.2


class ImportLease(Lease):
    """A VM that is being made. `vm` is its reference; `devices` say by `import_key` which file they take."""

    kind = "import"

    def __init__(self, session: Session, lease: Any, report: Reporter, subject: str) -> None:
        super().__init__(session, lease, report, subject)
        self.vm: Ref | None = None

    @classmethod
    def start(
        cls,
        session: Session,
        spec: ImportSpec,
        report: Reporter,
        *,
        pool: Ref,
        folder: Ref,
        host: Ref | None,
        cancel: CancelToken,
    ) -> "ImportLease":
        """Makes the VM and waits until its URLs are there.

        Raises `ConnectError` (not transient) when the answer was lost: a VM may be there then, which the server takes
        away by itself when nobody keeps its lease alive. Whatever else it raises, nothing is left.
        """
        target = session.managed(pool)
        at = session.managed(host) if host else None
        raw = session.act(
            lambda: target.ImportVApp(spec.raw, session.managed(folder), at),
            doing="starting the import",
            subject=spec.name,
        )
        lease = cls(session, raw, report, spec.name)
        lease._begin(cancel, lease._read)
        return lease

    def _read(self, info: Mapping[str, Any]) -> None:
        self.vm = info.get("entity")
        self.devices = tuple(device_url(each, self._session.host) for each in info.get("deviceUrl", ()))


def answer_lost(error: Exception) -> bool:
    """Whether `ImportLease.start` may have made a VM of which it knows nothing."""
    return isinstance(error, ConnectError) and not error.transient


def is_gone(session: Session, vm: Ref, patience: float) -> bool:
    """Whether the VM has left the inventory, asked again and again for `patience` seconds."""
    deadline = time.monotonic() + patience
    while get(session, [vm], ["name"]):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK)
    return True


def end_lost_import(  # noqa: PLR0917
    session: Session, folder: Ref, name: str, note: tuple[str, str], report: Reporter, patience: float
) -> None:
    """Ends the import of which the answer was lost, so that the server takes its VM away: the VM of this name in this
    folder, if it carries our note (extraConfig). Raises `CleanupError` when it stays."""
    index, place = session.content.searchIndex, session.managed(folder)
    found = session.read(lambda: index.FindChild(place, name), doing="looking for the unfinished VM", subject=name)
    if found is None:
        return
    vm = Ref("VirtualMachine", found._moId)
    values = get(session, [vm], ["config.extraConfig", "recentTask"]).get(vm, {})
    noted = {option.get("key"): option.get("value") for option in values.get("config.extraConfig", ())}
    if noted.get(note[0]) == note[1]:
        for task in values.get("recentTask", ()):
            report.step(f"{name}: ending the import that lost its connection ({task.moid})")
            with suppress(vmodl.MethodFault, *Session.DROPPED):  # it may have ended by itself
                session.managed(task).CancelTask()
        if is_gone(session, vm, patience):
            return
    raise CleanupError(
        f"Perhaps an unfinished VM {name} ({vm.moid}) is left.",
        hint="The server takes it away when its import lease times out (5 minutes); if it does not, delete it.",
    )
