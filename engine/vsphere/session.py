"""One logged-in session with a vCenter or ESXi, that survives expiry and dropped connections, and repeats reads only.

A call that changes something is never sent twice: `act` makes sure beforehand that the session lives, then calls once.
Views, filters and collectors die with the session; whoever made them makes them again (`generation` tells).
"""

import http.client
import ssl
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from xml.etree import ElementTree

from pyVmomi import VmomiSupport, vim, vmodl

from engine.config.integrated_logon import is_integrated
from engine.config.options import SSPI
from engine.errors import ConnectError, LoginError, SessionLost, VcbError
from engine.loglevel import LogLevel
from engine.reporter import Reporter
from engine.secret import Secret
from engine.vsphere import faults
from engine.vsphere.connection import DROPPED, HttpStatus, Undecodable, connection_error
from engine.vsphere.decoding import Ref
from engine.vsphere.login import Login, PasswordLogin
from engine.vsphere.properties import get_one
from engine.vsphere.soap import Stub, reference
from engine.vsphere.sspi import IntegratedLogin
from engine.vsphere.trust import Trust, untrusted

T = TypeVar("T")
KEEPALIVE = 300.0
"""Seconds between two signs of life; vCenter ends a session, and its HTTP cookie, after 30 idle minutes."""


def connect(  # noqa: PLR0917 - where, who and with what trust, as everywhere
    host: str,
    port: int,
    username: str,
    password: Secret,
    trust: Trust,
    report: Reporter,
    *,
    timeout: float = 60.0,
) -> "Session":
    """Logs in, with exactly one attempt. `timeout` (seconds) holds for every single call of the session.

    The user name `__sspi__` logs in without the password, by this machine's Kerberos ticket (vCenter only).
    Raises `ConnectError`, `TrustError`, or `LoginError` for refused credentials.
    """
    login = IntegratedLogin(host) if is_integrated(username) else PasswordLogin(username, password)
    context = trust.context_for(host, port, timeout=min(timeout, 20.0))
    try:
        version = _negotiate(host, port, context, timeout)
        report.api(f"{host}:{port} speaks {VmomiSupport.versionIdMap[version]}")
        stub = Stub(host, port, version, context=context, timeout=timeout, report=report)
        content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    except DROPPED as error:
        raise _unreachable(error, host, port) from error
    except vmodl.MethodFault as fault:
        raise faults.translate(fault, doing="connecting", subject=f"{host}:{port}") from fault
    session = Session(stub, content, trust, login)
    if is_integrated(username) and not session.is_vcenter:
        raise LoginError(
            f"{host} is an ESXi host; integrated logon ({SSPI}) works with a vCenter only.",
            hint="Set HOST to the vCenter, or USERNAME and PASSWORD_FILE to an account of this host.",
        )
    session.log_in()
    return session


class Session:
    """Made by `connect`. `content` and `about` are pyVmomi data objects, read once; `user_name` and `session_key` are
    the server's words for the login, and change with every new one, which `generation` counts."""

    DROPPED = DROPPED
    """Raw exceptions of a connection that failed, for callers that make raw calls in a loop with `recovery`."""

    def __init__(self, stub: Stub, content: Any, trust: Trust, login: Login) -> None:
        self.stub, self.content, self.trust = stub, content, trust
        self.about = content.about
        self.host, self.port = _host_of(stub), stub.port
        self.report = stub.report
        self.user_name = login.user
        self.session_key = ""
        self.generation = 0
        self._login = login
        self._login_lock = threading.Lock()
        self._refused: LoginError | None = None
        self._closing = threading.Event()
        self._keepalive: threading.Thread | None = None
        self._instance_uuid = ""

    @property
    def is_vcenter(self) -> bool:
        return self.about.apiType == "VirtualCenter"

    @property
    def instance_uuid(self) -> str:
        """Which server this is: morefs are unique only inside one. A standalone ESXi has no such id; its BIOS UUID
        stands for it."""
        if not self._instance_uuid:
            self._instance_uuid = self.about.instanceUuid or _host_uuid(self)
        return self._instance_uuid

    @property
    def api_version(self) -> tuple[int, ...]:
        """The version spoken in this session, (8, 0, 3, 0): what both sides know, not the server's own."""
        return tuple(int(part) for part in VmomiSupport.versionIdMap[self.stub.version].split("."))

    @property
    def cookie(self) -> Secret:
        """`vmware_soap_session="..."`, as the HTTP paths (/folder) want it in their Cookie header."""
        return self.stub.session_cookie

    def managed(self, ref: Ref) -> Any:
        """The pyVmomi object for a reference; costs no call, and its attributes must not be read."""
        return reference(ref.type, ref.moid, self.stub)

    # Calls

    def read(self, fn: Callable[[], T], *, doing: str = "reading", subject: str = "") -> T:
        """Calls `fn`, which must change nothing: it is called again after a new login or a dropped connection, once
        each. Faults come out translated, the raw one as `__cause__`."""
        recovery = self.recovery()
        while True:
            try:
                return fn()
            except (vmodl.MethodFault, *DROPPED) as error:
                recovery.after(error, doing=doing, subject=subject or self.host)

    def act(self, fn: Callable[[], T], *, doing: str, subject: str) -> T:
        """Calls `fn` exactly once, in a session known to live. When the connection drops in the middle the outcome is
        unknown: that error is not transient, so that nobody repeats the act blindly."""
        self.ensure_alive()
        self.report.api(f"{subject}: {doing}")
        try:
            return fn()
        except vmodl.MethodFault as fault:
            raise self.translate(fault, doing=doing, subject=subject) from fault
        except DROPPED as error:
            raise ConnectError(
                f"{subject}: the connection to {self.host} dropped while {doing}; whether it was carried out is "
                "unknown.",
                fault=type(error).__name__,
                hint="Look at the VM's recent tasks and snapshots before running the job again.",
                transient=False,
            ) from error

    def translate(self, fault: Exception, *, doing: str, subject: str) -> VcbError:
        """`faults.translate`, with the names of the entities that a missing privilege is about."""
        return faults.translate(fault, doing=doing, subject=subject, name_of=self._name_of)

    def recovery(self) -> "Recovery":
        """For loops of raw reads that keep state on the server (views, filters)."""
        return Recovery(self)

    # Life

    def log_in(self, seen: int = 0) -> None:
        """Logs in unless another thread has done so since generation `seen`. Refused credentials are never sent
        again: every later attempt raises the first refusal."""
        with self._login_lock:
            if self.generation > seen:
                return
            if self._refused is not None:
                raise self._refused
            if self._closing.is_set():
                raise SessionLost(f"The session with {self.host} has been closed.", transient=False)
            if self.generation:
                # A session that half lives answers a second login with InvalidLogin, as if the password were wrong.
                self.stub.session_cookie = Secret("")
            try:
                user = self._login(self.content.sessionManager, self.report)
            except vmodl.MethodFault as fault:
                error = faults.translate(fault, doing=f"logging in as {self._login.user}", subject=self.host)
                if isinstance(error, LoginError):
                    self._refused = error
                raise error from fault
            except LoginError as error:
                if isinstance(error.__cause__, vmodl.MethodFault):
                    self._refused = error
                raise
            except DROPPED as error:
                raise _unreachable(error, self.host, self.port) from error
            self.session_key, self.user_name = user.key, user.userName
            self.generation += 1
            self.report.api(f"Logged in to {self.about.fullName} at {self.host} as {self.user_name}")

    def ensure_alive(self) -> None:
        """One cheap call (CurrentTime); logs in again when the session has ended."""
        self.read(vim.ServiceInstance("ServiceInstance", self.stub).CurrentTime, doing="checking the session")

    def start_keepalive(self, interval: float = KEEPALIVE) -> None:
        """Keeps the session alive from a thread of its own until `close`. Calling it again changes nothing."""
        if self._keepalive is None:
            self._keepalive = threading.Thread(
                target=self._keep_alive, args=(interval,), name=f"keep-alive {self.host}", daemon=True
            )
            self._keepalive.start()

    def _keep_alive(self, interval: float) -> None:
        while not self._closing.wait(interval):
            try:
                self.ensure_alive()
            except LoginError as error:
                self.report.error(error, LogLevel.WARNING)
                return
            except VcbError as error:
                self.report.error(error, LogLevel.WARNING)

    def close(self) -> None:
        """Logs out and drops the connections. Safe twice. Not while a task of this session still runs: vCenter may
        fail it for want of its session."""
        with self._login_lock:
            if self._closing.is_set():
                return
            self._closing.set()
        if self._keepalive is not None and self._keepalive is not threading.current_thread():
            self._keepalive.join(timeout=self.stub.timeout)
        try:
            self.content.sessionManager.Logout()
        except (vmodl.MethodFault, *DROPPED) as error:
            self.report.api(f"Logout from {self.host}: {type(error).__name__}")
        self.stub.DropConnections()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _name_of(self, ref: Ref) -> str:
        """An entity's name for an error text; its reference when even that cannot be read."""
        from engine.vsphere.properties import get  # noqa: PLC0415 - properties reads through the session

        try:
            return get(self, [ref], ["name"]).get(ref, {}).get("name") or ref.moid
        except VcbError:
            return ref.moid


class Recovery:
    """What one read may spend: one new login, and one retry after a dropped connection."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._generation = session.generation
        self._logged_in = self._reconnected = False

    def after(self, error: Exception, *, doing: str, subject: str) -> None:
        """Returns when the read may be repeated; raises the translated error when it may not."""
        session = self._session
        if isinstance(error, vim.fault.NotAuthenticated) and not self._logged_in:
            self._logged_in = True
            session.report.step(f"The session with {session.host} has ended; logging in again.")
            session.log_in(self._generation)
            return
        if isinstance(error, vmodl.MethodFault):
            raise session.translate(error, doing=doing, subject=subject) from error
        if not self._reconnected and _may_reconnect(error):
            self._reconnected = True
            session.report.step(f"The connection to {session.host} dropped while {doing}; connecting again.")
            return
        raise _unreachable(error, session.host, session.port) from error


def _may_reconnect(error: Exception) -> bool:
    """A connection that worked and dropped; not one that nobody answers, nor one that shows another certificate."""
    return not isinstance(
        error, ssl.SSLCertVerificationError | TimeoutError | ConnectionRefusedError | HttpStatus | Undecodable
    )


def _unreachable(error: Exception, host: str, port: int) -> VcbError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return untrusted(host, port, error.verify_message or "it does not verify")
    return connection_error(error, host, port)


def _host_uuid(session: Session) -> str:
    path = "hardware.systemInfo.uuid"
    return get_one(session, Ref("HostSystem", "ha-host"), [path]).get(path, "")


def _host_of(stub: Stub) -> str:
    return stub.host.rpartition(":")[0].strip("[]")


def _negotiate(host: str, port: int, context: ssl.SSLContext, timeout: float) -> str:
    """The newest API version (as pyVmomi names it) that both sides speak.

    Not by pyVim.connect: it fetches this document without a timeout. Raises OSError, HTTPException, ParseError.
    """
    connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    try:
        connection.request("GET", "/sdk/vimServiceVersions.xml")
        response = connection.getresponse()
        if response.status != 200:
            raise HttpStatus(response.status, response.reason)
        tree = ElementTree.fromstring(response.read())  # noqa: S314 - expat limits entity expansion
    finally:
        connection.close()
    offered = {
        _padded(version.text or "")
        for namespace in tree.iterfind("namespace")
        if namespace.findtext("name") == "urn:vim25"
        for version in (*namespace.iterfind("version"), *namespace.iterfind("priorVersions/version"))
    }
    for version in VmomiSupport.GetServiceVersions("vim25"):
        if _padded(VmomiSupport.versionIdMap[version]) in offered:
            return version
    raise ElementTree.ParseError("no vim25 version in common")


def _padded(version: str) -> str:
    """Servers write 7.0 where pyVmomi's table has 7.0.0.0."""
    return ".".join([*version.split("."), "0", "0", "0", "0"][:4])
