"""Faults and failed connections in an operator's words."""

import http.client
import socket
import ssl

import pytest
from pyVmomi import vim, vmodl

from engine.errors import (
    BusyError,
    ConnectError,
    LoginError,
    PrivilegeError,
    QuiesceError,
    SessionLost,
    SnapshotError,
    VcbError,
    VmUnsuitable,
    VsphereError,
)
from engine.vsphere.connection import HttpStatus, connection_error
from engine.vsphere.faults import TRANSIENT, translate


def error_of(fault: Exception) -> VcbError:
    return translate(fault, doing="creating the snapshot", subject="web01")


@pytest.mark.parametrize(
    ("fault", "kind", "transient"),
    [
        (vim.fault.TaskInProgress(), BusyError, True),
        (vim.fault.ResourceInUse(name="disk"), BusyError, True),
        (vim.fault.ConcurrentAccess(), BusyError, True),
        (vim.fault.FileLocked(file="[ds] a/a.vmdk"), BusyError, True),
        (vmodl.fault.HostCommunication(), ConnectError, True),
        (vim.fault.NotAuthenticated(), SessionLost, True),
        (vim.fault.InvalidLogin(), LoginError, False),
        (vim.fault.RestrictedVersion(), VsphereError, False),
        (vim.fault.InvalidPowerState(existingState="poweredOn"), VmUnsuitable, False),
        (vim.fault.ApplicationQuiesceFault(), QuiesceError, False),
        (vim.fault.FilesystemQuiesceFault(), QuiesceError, False),
        (vim.fault.TooManySnapshotLevels(), SnapshotError, False),
        (vim.fault.SnapshotFault(), SnapshotError, False),
        (vim.fault.SnapshotNoChange(), SnapshotError, False),
        (vim.fault.SnapshotFault(msg="Failed to quiesce the virtual machine."), QuiesceError, False),
        (vim.fault.NoDiskSpace(file="f", datastore="ds1"), VsphereError, False),
        (vim.fault.CannotAccessFile(file="[ds] a"), VsphereError, False),
        (vmodl.fault.ManagedObjectNotFound(obj=vim.VirtualMachine("vm-1")), VmUnsuitable, False),
        (vmodl.fault.ManagedObjectNotFound(obj=vim.Task("task-1")), VsphereError, False),
        (vmodl.fault.NotSupported(), VsphereError, False),
        (vmodl.RuntimeFault(msg="Something odd."), VsphereError, False),
    ],
    ids=lambda value: getattr(value, "_wsdlName", getattr(value, "__name__", str(value))),
)
def test_every_kind_has_its_type(fault: Exception, kind: type[VcbError], transient: bool) -> None:
    error = error_of(fault)
    assert type(error) is kind
    assert error.transient is transient
    assert error.fault == getattr(fault, "_wsdlName", "")
    assert error.sentence.startswith("web01: creating the snapshot failed: ")
    assert "{" not in error.sentence


def test_what_max_retries_may_repeat() -> None:
    assert {"TaskInProgress", "ResourceInUse", "ConcurrentAccess", "FileLocked", "HostCommunication"} <= TRANSIENT
    assert not TRANSIENT & {"InvalidLogin", "NoPermission", "RestrictedVersion", "ApplicationQuiesceFault"}


def test_a_child_of_a_state_fault_is_not_worth_waiting_for() -> None:
    assert error_of(vim.fault.InvalidState()).transient
    assert not error_of(vim.fault.InvalidPowerState()).transient
    assert not error_of(vim.fault.MethodDisabled(source="another product")).transient


def test_the_server_s_own_words_are_kept() -> None:
    error = error_of(vim.fault.TooManySnapshotLevels(msg="Limit of 32 reached."))
    assert error.sentence.endswith("The server says: Limit of 32 reached.")
    assert "32" in error.hint
    assert str(error).endswith("[TooManySnapshotLevels]")


def test_the_disabling_product_is_named() -> None:
    assert "by VADP" in error_of(vim.fault.MethodDisabled(source="VADP")).sentence


def test_a_missing_privilege_names_privilege_and_entity() -> None:
    missing = vim.fault.NoPermission.EntityPrivileges(
        entity=vim.VirtualMachine("vm-7"), privilegeIds=["VirtualMachine.State.CreateSnapshot", "VApp.Export"]
    )
    fault = vim.fault.NoPermission(object=vim.Folder("group-1"), privilegeId="System.View", missingPrivileges=[missing])
    error = translate(fault, doing="exporting", subject="web01", name_of=lambda ref: f"name of {ref.moid}")
    assert isinstance(error, PrivilegeError)
    assert error.missing == (
        ("name of vm-7", "VirtualMachine.State.CreateSnapshot"),
        ("name of vm-7", "VApp.Export"),
    )
    assert "VApp.Export on name of vm-7" in error.sentence


def test_older_servers_name_one_privilege() -> None:
    fault = vim.fault.NoPermission(object=vim.VirtualMachine("vm-7"), privilegeId="VApp.Export")
    error = error_of(fault)
    assert isinstance(error, PrivilegeError)
    assert error.missing == (("vm-7", "VApp.Export"),)


@pytest.mark.parametrize(
    ("error", "port", "said", "advised"),
    [
        (socket.gaierror(-2, "Name or service not known"), 443, "cannot be resolved", "DNS"),
        (ConnectionRefusedError(), 80, "nothing listens", "port 443"),
        (TimeoutError(), 443, "no answer in time", "HTTP_TIMEOUT"),
        (ssl.SSLError(1, "wrong version number"), 902, "no TLS connection", "PORT=443"),
        (ConnectionRefusedError(), 902, "nothing listens", "PORT=443"),
        (HttpStatus(503, "Service Unavailable"), 443, "503 Service Unavailable", "services start"),
        (HttpStatus(404, "Not Found"), 443, "404 Not Found", "port 443"),
        (http.client.RemoteDisconnected(""), 443, "the connection dropped", ""),
        (OSError(113, "No route to host"), 443, "No route to host", ""),
    ],
)
def test_a_server_that_cannot_be_reached(error: Exception, port: int, said: str, advised: str) -> None:
    translated = connection_error(error, "vc.example", port)
    assert isinstance(translated, ConnectError)
    assert translated.sentence.startswith(f"vc.example:{port}: ")
    assert said in translated.sentence
    assert advised in translated.hint
    assert translated.transient
