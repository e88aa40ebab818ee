"""One suite, two servers: every contract test runs against the embedded lab and against govmomi's vcsim.

What vcsim cannot do is listed below with its reason, as a strict expected failure: it is noticed when vcsim learns it.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.lab import Lab
from engine.reporter import silent
from engine.secret import Secret
from engine.vsphere.inventory import inventory
from engine.vsphere.session import Session, connect
from engine.vsphere.trust import Trust, fingerprint, peer_certificate
from tests.tools import require_tool

VCSIM_CANNOT = {
    "test_an_unknown_path_is_treated_as_unset": "answers a path that does not exist with missingSet",
    "test_changed_areas_cover_the_disk": "QueryChangedDiskAreas: MethodNotFound; changeId is always None",
    "test_consolidation": "ConsolidateVMDisks_Task: MethodNotFound",
    "test_two_snapshots_at_once_are_refused": "both succeed: there is no TaskInProgress",
    "test_an_unknown_privilege_is_not_granted": "every privilege is granted, known or not",
    "test_a_version_token_may_be_asked_again": "the version token is always '-'",
    "test_the_ovf_descriptor_is_of_the_snapshot": "OvfManager.CreateDescriptor is missing",
    "test_nfc_tickets": "NfcService is missing",
    "test_a_snapshot_freezes_the_current_file": "there are no delta disks: the current file stays the same",
    "test_a_lease_tells_the_size_of_its_manifest": "the manifest is empty",
    "test_a_running_vm_cannot_be_exported_itself": "ExportVm: MethodNotFound",
    "test_files_need_a_session": "/folder is open to everybody",
}


@dataclass(frozen=True)
class TestServer:
    """Where a test's own server listens, and what a client needs to use it."""

    __test__ = False

    kind: str
    host: str
    port: int
    user: str
    password: Secret
    trust: Trust
    lab: Lab | None = None

    def connect(self, **options: float) -> Session:
        return connect(self.host, self.port, self.user, self.password, self.trust, silent(), **options)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        call = getattr(item, "callspec", None)
        reason = VCSIM_CANNOT.get(getattr(item, "originalname", ""))
        if reason and call is not None and call.params.get("server") == "vcsim":
            item.add_marker(pytest.mark.xfail(strict=True, reason=f"vcsim: {reason}"))


@pytest.fixture(params=["lab", "vcsim"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestServer]:
    """A fresh server with at least two running VMs, which nobody else uses."""
    if request.param == "lab":
        with Lab.start(tmp_path / "lab", seed="small", guest=False) as lab:
            trust = Trust.from_settings(lab.ca_file, None)
            yield TestServer("lab", lab.host, lab.port, lab.user, Secret(lab.password), trust, lab)
    else:
        yield from vcsim("-username", "operator", "-password", "vcsim-password")


def vcsim(*arguments: str) -> Iterator[TestServer]:
    """A vcsim process, ended by the end of its standard input; its certificate is new each time, so it is pinned."""
    command = [require_tool("vcsim"), "-l", "127.0.0.1:0", "-stdinexit", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"@?127\.0\.0\.1:(\d+)/sdk", line)
            assert address is not None, line
            port = int(address[1])
            pin = fingerprint(peer_certificate("127.0.0.1", port))
            trust = Trust.from_settings(None, pin)
            yield TestServer("vcsim", "127.0.0.1", port, "operator", Secret("vcsim-password"), trust)
        finally:
            process.terminate()


@pytest.fixture
def session(server: TestServer) -> Iterator[Session]:
    with server.connect() as session:
        yield session


@pytest.fixture
def vm(session: Session) -> str:
    """The moref of a running VM without snapshots."""
    return next(
        vm.moref for vm in inventory(session) if vm.power == "poweredOn" and not vm.snapshots and len(vm.disks) > 0
    )
