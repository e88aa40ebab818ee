"""`/folder`: datastore files over HTTP with cookie or service ticket, Range, locks, listings."""

import http.client
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyVmomi import vim, vmodl

from engine.lab import Lab
from engine.lab.faults import Rule
from engine.lab.inventory import Datacenter, Datastore, Folder
from tests.lab.lease_client import CAPACITY, Client, ask, contents, login, make_vm


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="empty", guest=False) as running:
        yield running


@pytest.fixture
def client(lab: Lab) -> Client:
    return login(lab)


def url(lab: Lab, path: str, *, dc_path: str | None = None, store: str | None = None) -> str:
    datacenter = lab.vsphere.all_of(vim.Datacenter)[0]
    query = {"dcPath": dc_path or datacenter.name, "dsName": store or datacenter.datastores()[0].name}
    return f"/folder/{urllib.parse.quote(path)}?{urllib.parse.urlencode(query)}"


def test_the_frozen_base_under_a_snapshot_is_readable(lab: Lab, client: Client) -> None:
    vm = make_vm(lab, power="poweredOn")
    path = url(lab, "web01/web01-flat.vmdk")
    assert ask(lab, "GET", path, cookie=client.cookie).status == 500, "the running VM writes it"
    frozen = contents(vm)
    snapshot = vm.take_snapshot("backup")
    vm.write(next(iter(vm.disks)), 0, b"new" * 1000)
    answer = ask(lab, "GET", path, cookie=client.cookie)
    assert (answer.status, answer.body) == (200, frozen)
    assert ask(lab, "GET", url(lab, "web01/web01-000001-delta.vmdk"), cookie=client.cookie).status == 500
    vm.remove_snapshot(snapshot)
    assert ask(lab, "GET", path, cookie=client.cookie).status == 500


def test_the_length_of_a_thin_extent_is_its_provisioned_size(lab: Lab, client: Client) -> None:
    make_vm(lab)
    head = ask(lab, "HEAD", url(lab, "web01/web01-flat.vmdk"), cookie=client.cookie)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(CAPACITY), b"")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=4990-5009", 4990, 5010),
        ("bytes=41943030-", CAPACITY - 10, CAPACITY),
        ("bytes=41943030-99999999", CAPACITY - 10, CAPACITY),
        ("bytes=-7", CAPACITY - 7, CAPACITY),
    ],
)
def test_a_range_is_inclusive(asked: str, start: int, stop: int, lab: Lab, client: Client) -> None:
    vm = make_vm(lab)
    path = url(lab, "web01/web01-flat.vmdk")
    answer = ask(lab, "GET", path, cookie=client.cookie, headers={"Range": asked})
    assert (answer.status, answer.body) == (206, contents(vm)[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{CAPACITY}"


def test_a_range_beyond_the_end_is_416(lab: Lab, client: Client) -> None:
    make_vm(lab)
    path = url(lab, "web01/web01-flat.vmdk")
    answer = ask(lab, "GET", path, cookie=client.cookie, headers={"Range": f"bytes={CAPACITY}-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{CAPACITY}")


def test_small_files_are_there(lab: Lab, client: Client) -> None:
    make_vm(lab)
    descriptor = ask(lab, "GET", url(lab, "web01/web01.vmdk"), cookie=client.cookie).body.decode()
    assert 'createType="vmfs"' in descriptor
    assert f'RW {CAPACITY // 512} VMFS "web01-flat.vmdk"' in descriptor
    assert b"displayName" in ask(lab, "GET", url(lab, "web01/web01.vmx"), cookie=client.cookie).body


def test_nobody_reads_without_a_session(lab: Lab, client: Client) -> None:
    make_vm(lab)
    answer = ask(lab, "GET", url(lab, "web01/web01.vmx"))
    assert answer.status == 401
    assert "WWW-Authenticate" in answer.headers
    assert ask(lab, "GET", url(lab, "web01/web01.vmx"), cookie='vmware_soap_session="guessed"').status == 401


def test_dc_path_is_the_whole_path_of_the_datacenter(lab: Lab, client: Client, tmp_path: Path) -> None:
    vsphere = lab.vsphere
    north = vsphere.root.add(Folder(vsphere, "North", vsphere.root, (vim.Folder, vim.Datacenter)))
    inner = Datacenter(vsphere, "DC2", north)
    Datastore(vsphere, "deep", inner, tmp_path / "deep")
    (tmp_path / "deep" / "note.txt").write_text("found")

    def status(dc_path: str) -> int:
        return ask(lab, "GET", url(lab, "note.txt", dc_path=dc_path, store="deep"), cookie=client.cookie).status

    assert status("North/DC2") == 200
    assert status("/North/DC2") == 200, "govc sends a leading slash"
    assert status("DC2") == 404
    assert status("North") == 404
    datacenter = vsphere.all_of(vim.Datacenter)[0].name
    assert status(datacenter) == 404, "the datastore lies in the other datacenter"


@pytest.mark.parametrize(
    "path", ["../password", "web01/../../password", "..%2f..%2fpassword", "web01/%00", "/etc/passwd"]
)
def test_nothing_outside_the_datastore_is_reachable(path: str, lab: Lab, client: Client) -> None:
    make_vm(lab)
    query = url(lab, "").partition("?")[2]
    assert ask(lab, "GET", f"/folder/{path}?{query}", cookie=client.cookie).status == 404


def test_a_link_out_of_the_datastore_is_not_followed(lab: Lab, client: Client) -> None:
    vm = make_vm(lab)
    (vm.home.path / "way-out").symlink_to("/etc/passwd")
    assert ask(lab, "GET", url(lab, "web01/way-out"), cookie=client.cookie).status == 404


def test_put_and_delete(lab: Lab, client: Client) -> None:
    make_vm(lab)
    path = url(lab, "web01/notes.txt")
    assert ask(lab, "PUT", path, cookie=client.cookie, body=b"one").status == 201
    assert ask(lab, "PUT", path, cookie=client.cookie, body=iter([b"tw", b"o"])).status == 200
    assert ask(lab, "GET", path, cookie=client.cookie).body == b"two"
    assert ask(lab, "DELETE", path, cookie=client.cookie).status == 204
    assert ask(lab, "GET", path, cookie=client.cookie).status == 404
    for method in ("PUT", "DELETE"):
        assert ask(lab, method, url(lab, "web01/web01-flat.vmdk"), cookie=client.cookie, body=b"x").status == 500
    assert ask(lab, "PUT", url(lab, "no-such/notes.txt"), cookie=client.cookie, body=b"x").status == 404


def test_a_directory_is_listed(lab: Lab, client: Client) -> None:
    make_vm(lab)
    page = ask(lab, "GET", url(lab, "web01"), cookie=client.cookie)
    assert page.headers["Content-Type"].startswith("text/html")
    for name in ("web01.vmx", "web01.vmdk", "web01-flat.vmdk", "web01.nvram"):
        assert f">{name}</a>" in page.body.decode()
    assert b">web01/</a>" in ask(lab, "GET", url(lab, ""), cookie=client.cookie).body
    datacenter = lab.vsphere.all_of(vim.Datacenter)[0].name
    assert f"dcPath={datacenter}" in ask(lab, "GET", "/folder", cookie=client.cookie).body.decode()
    stores = ask(lab, "GET", f"/folder?dcPath={datacenter}", cookie=client.cookie).body.decode()
    assert "dsName=" in stores


def test_a_vm_without_contents_has_files_when_somebody_looks(lab: Lab, client: Client) -> None:
    vm = make_vm(lab)
    vm.on_datastore = False
    answer = ask(lab, "GET", url(lab, "web01/web01.vmx"), cookie=client.cookie)
    assert answer.status == 200


def test_a_service_ticket_opens_one_url_once(lab: Lab, client: Client) -> None:
    make_vm(lab)
    path, other = url(lab, "web01/web01.vmx"), url(lab, "web01/web01.nvram")
    manager = client.content.sessionManager

    def ticket(method: str = "httpGet", target: str = path) -> str:
        spec = vim.SessionManager.HttpServiceRequestSpec(method=method, url=f"https://esx01.lab{target}")
        return f"vmware_cgi_ticket={manager.AcquireGenericServiceTicket(spec).id}"

    good = ticket()
    assert ask(lab, "GET", path, cookie=good).status == 200
    assert ask(lab, "GET", path, cookie=good).status == 401, "it is spent"
    assert ask(lab, "GET", other, cookie=ticket()).status == 401
    assert ask(lab, "GET", path, cookie=ticket("httpPut")).status == 401
    without_dc = f"{path.partition('?')[0]}?dsName={urllib.parse.parse_qs(path.partition('?')[2])['dsName'][0]}"
    assert ask(lab, "GET", without_dc, cookie=ticket(target=without_dc)).status == 200, "hosts know no dcPath"
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.AcquireGenericServiceTicket(vim.SessionManager.HttpServiceRequestSpec(method="httpGet", url=""))


def test_reading_needs_the_privilege_to_browse(lab: Lab) -> None:
    make_vm(lab)
    lab.vsphere.grant("viewer@vsphere.local", "secret", {"System.View", "System.Read", "System.Anonymous"})
    lab.user, lab.password = "viewer@vsphere.local", "secret"
    answer = ask(lab, "GET", url(lab, "web01/web01.vmx"), cookie=login(lab).cookie)
    assert (answer.status, b"Datastore.Browse" in answer.body) == (403, True)


def test_injected_trouble(lab: Lab, client: Client) -> None:
    make_vm(lab)
    path = url(lab, "web01/web01-flat.vmdk")
    lab.faults.add(Rule("http", "short", "data", object="*web01-flat*", size=1_000_000))
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(lab, "GET", path, cookie=client.cookie)
    lab.faults.add(Rule("http", "fault", "data", object="web01"))
    assert ask(lab, "GET", path, cookie=client.cookie).status == 500
    assert ask(lab, "GET", path, cookie=client.cookie).status == 200
