"""What every step of a job needs at hand."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.flow.ledger import Ledger
from engine.reporter import Reporter
from engine.state_directory import StateDirectory
from engine.vsphere.session import Session
from engine.vsphere.snapshots import SNAPSHOT_NAME, OwnershipToken, Snapshot

if TYPE_CHECKING:
    from engine.flow.resume import Resumed


@dataclass(slots=True)
class JobContext:
    """One job on one vCenter. `adopted` are morefs of snapshots that the operator declared removable."""

    id: str
    settings: Settings
    session: Session
    report: Reporter
    cancel: CancelToken
    state: StateDirectory
    ledger: Ledger
    adopted: frozenset[str] = frozenset()
    resumed: "Resumed | None" = None
    """What was taken over from a dead job."""

    def token(self, vm_moref: str) -> OwnershipToken:
        return OwnershipToken(job=self.id, proxy=self.state.proxy_id, vcenter=self.session.instance_uuid, vm=vm_moref)

    def owns(self, snapshot: Snapshot, vm_moref: str) -> bool:
        """Provably ours: our name, and a token of this proxy, this vCenter and this VM; or adopted."""
        if snapshot.name != SNAPSHOT_NAME:
            return False
        token = OwnershipToken.parse(snapshot.description)
        mine = self.token(vm_moref)
        proven = token is not None and (token.proxy, token.vcenter, token.vm) == (mine.proxy, mine.vcenter, mine.vm)
        return proven or snapshot.moref in self.adopted

    def owner(self, snapshot: Snapshot, vm_moref: str) -> str:
        """Whose a snapshot is, in words."""
        if self.owns(snapshot, vm_moref):
            token = OwnershipToken.parse(snapshot.description)
            return f"this proxy, job {token.job}" if token else "adopted by the operator"
        if token := OwnershipToken.parse(snapshot.description):
            return f"proxy {token.proxy}, job {token.job}"
        return "unknown backup" if snapshot.name == SNAPSHOT_NAME else "foreign"
