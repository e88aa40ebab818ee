"""The SOAP layer: what is refused, versions, gzip, chunked bodies."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyVim.connect import SmartConnect
from pyVmomi import vmodl

from engine.lab import Lab
from engine.lab.wire import Dialect
from tests.lab.soap_client import ENVELOPE, call, login, post, trusting

CONTENT = call("RetrieveServiceContent", ("ServiceInstance", "ServiceInstance"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab.start(tmp_path_factory.mktemp("lab"), seed="empty", guest=False) as lab:
        yield lab


def test_a_client_that_trusts_the_labs_ca_verifies_name_and_chain(lab: Lab) -> None:
    instance = SmartConnect(host="localhost", port=lab.port, user=lab.user, pwd=lab.password, sslContext=trusting(lab))
    about = instance.RetrieveContent().about
    assert (about.apiType, about.apiVersion) == ("VirtualCenter", "8.0.3.0")
    assert about.instanceUuid


def test_chunked_bodies_are_read(lab: Lab) -> None:
    status, _, body = post(lab, CONTENT, chunked=True)
    assert status == 200
    assert b"<rootFolder" in body


def test_gzip_only_when_asked(lab: Lab) -> None:
    _, plain_headers, plain = post(lab, CONTENT)
    _, packed_headers, packed = post(lab, CONTENT, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain_headers
    assert packed_headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed) == plain


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("this is not XML", "InvalidRequestFault"),
        ('<!DOCTYPE x [<!ENTITY e "boom">]>' + CONTENT, "InvalidRequestFault"),
        (ENVELOPE.format(""), "InvalidRequestFault"),
        (call("NoSuchMethod", ("ServiceInstance", "ServiceInstance")), "MethodNotFoundFault"),
        (call("Login", ("SessionManager", "SessionManager"), "<userName>x</userName>"), "InvalidRequestFault"),
        (
            call("RetrieveServiceContent", ("ServiceInstance", "ServiceInstance"), "<more>1</more>"),
            "InvalidRequestFault",
        ),
        (call("RetrieveServiceContent", ("ServiceInstance", "nobody")), "ManagedObjectNotFoundFault"),
        (call("CurrentTime", ("ServiceInstance", "ServiceInstance")), "NotAuthenticatedFault"),
    ],
)
def test_bad_requests_are_typed_faults(lab: Lab, body: str, fault: str) -> None:
    status, _, answer = post(lab, body)
    assert status == 500
    assert fault.encode() in answer


def test_an_unknown_entity_is_not_expanded(lab: Lab) -> None:
    body = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + CONTENT.replace(
        "ServiceInstance</_this>", "&e;</_this>"
    )
    status, _, answer = post(lab, body)
    assert status == 500
    assert b"document type" in answer


def test_unknown_paths_are_404(lab: Lab) -> None:
    assert post(lab, CONTENT, path="/nothing")[0] == 404


def test_a_method_without_code_is_method_not_found(lab: Lab) -> None:
    content = login(lab).RetrieveContent()
    with pytest.raises(vmodl.fault.MethodNotFound):
        content.sessionManager.CloneSession(cloneTicket="x")


def test_version_ids(tmp_path: Path) -> None:
    with Lab.start(tmp_path, seed="empty", guest=False, version="7.0.3.0") as old:
        instance = login(old)
        assert instance._stub.version == "vim.version.v7_0_3_0"
        about = instance.RetrieveContent().about
        assert (about.version, about.apiVersion) == ("7.0.3", "7.0.3.0")


def test_the_namespaces_file_lists_older_versions_only() -> None:
    listed = Dialect("7.0.3.0").service_versions()
    assert b"<version>7.0.3.0</version>" in listed
    assert b"<version>6.7.3</version>" in listed
    assert b"8.0" not in listed


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.2\.3"):
        Dialect("1.2.3")


def test_an_answer_is_in_the_words_of_the_version_asked_for(lab: Lab) -> None:
    new = Dialect("8.0.3.0")
    assert new.asked_for('"urn:vim25/7.0.3.0"') == "vim.version.v7_0_3_0"
    assert new.asked_for('"urn:vim25/9.9.9.9"') == new.newest
    assert post(lab, CONTENT, headers={"SOAPAction": '"urn:vim25/6.5"'})[0] == 200
