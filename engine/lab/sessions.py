"""Sessions: login and logout, idle expiry, and the objects that die with a session."""

from __future__ import annotations

import secrets
import time
import uuid
from collections import Counter
from datetime import UTC, datetime
from typing import Any, TypeVar

from pyVmomi import vim, vmodl

from engine.lab.registry import MO

IDLE = 1800.0  # seconds; a vCenter's default
Owned = TypeVar("Owned", bound=MO)


class Session:
    """One login. `cookie` is the secret that authenticates; `key` is the public id, which lists may show."""

    def __init__(self, lab: Any, user: str, address: str, agent: str, locale: str) -> None:
        self.lab, self.user = lab, user
        self.key, self.cookie = str(uuid.uuid4()), secrets.token_hex(20)
        self.used = time.monotonic()
        self.dead = False
        self.waiting = 0
        self.owned: dict[str, MO] = {}
        self.state: dict[Any, Any] = {}
        now = datetime.now(UTC)
        self._user_session: Any = vim.UserSession(
            key=self.key,
            userName=user,
            fullName=user.partition("@")[0].capitalize(),
            loginTime=now,
            lastActiveTime=now,
            locale=locale or "en",
            messageLocale=locale or "en",
            extensionSession=False,
            ipAddress=address,
            userAgent=agent,
        )
        self._user_session.callCount = 0

    def user_session(self) -> Any:
        return self._user_session

    def count_call(self) -> None:
        self.used = time.monotonic()
        self._user_session.lastActiveTime = datetime.now(UTC)
        self._user_session.callCount += 1

    def owns(self, mo: Owned) -> Owned:
        """Ties an object (view, filter, collector) to this session: it vanishes with it."""
        self.owned[mo.id] = mo
        return mo

    def disowns(self, mo: MO) -> None:
        self.owned.pop(mo.id, None)


class Sessions:
    """The sessions of one server. They expire lazily: whoever looks finds the idle ones gone."""

    def __init__(self, lab: Any, idle: float = IDLE) -> None:
        self.lab = lab
        self.idle = idle
        self.refused: Counter[str] = Counter()  # failed logins by user name, for tests that count attempts
        self.logins: Counter[str] = Counter()
        self._by_cookie: dict[str, Session] = {}

    def open(self, user: str, address: str, agent: str, locale: str = "en") -> Session:
        with self.lab.cond:
            session = Session(self.lab, user, address, agent, locale)
            self._by_cookie[session.cookie] = session
            self.logins[user] += 1
            self.lab.session_changed()
            return session

    def by_cookie(self, cookie: str) -> Session | None:
        self.expire_idle()
        return self._by_cookie.get(cookie)

    def all(self) -> list[Session]:
        self.expire_idle()
        with self.lab.cond:
            return list(self._by_cookie.values())

    def user_of(self, key: str) -> str:
        """The user of a session id; NotFound-like faults as HasPrivilegeOnEntities raises them."""
        for session in self.all():
            if session.key == key:
                return session.user
        raise vmodl.fault.InvalidArgument(invalidProperty="sessionId", msg="A specified parameter was not correct")

    def close(self, session: Session) -> None:
        with self.lab.cond:
            session.dead = True
            self._by_cookie.pop(session.cookie, None)
            for mo in list(session.owned.values()):
                self.lab.remove(mo)
            session.owned.clear()
            self.lab.session_changed()

    def expire_all(self) -> int:
        """Ends every session as if it had been idle too long; how many they were."""
        sessions = self.all()
        for session in sessions:
            self.close(session)
        return len(sessions)

    def expire_idle(self) -> None:
        oldest = time.monotonic() - self.idle
        with self.lab.cond:
            expired = [s for s in self._by_cookie.values() if s.used < oldest and not s.waiting]
        for session in expired:
            self.close(session)


class SessionManager(MO):
    vim = vim.SessionManager

    def __init__(self, lab: Any, moid: str) -> None:
        super().__init__(
            lab, moid, defaultLocale="en", messageLocaleList=["en"], supportedLocaleList=["en"], message=""
        )
        self.props["sessionList"] = self._session_list
        # readable without a session, as on a vCenter: pyVim's own re-login depends on it
        self.props["currentSession"] = lambda: lab.caller and lab.caller.user_session()

    def _session_list(self) -> list[Any]:
        caller = self.lab.caller
        if caller is None or "Sessions.TerminateSession" not in self.lab.access.privileges(caller.user):
            return []
        return [session.user_session() for session in self.lab.sessions.all()]

    def Login(self, ctx: Any, userName: str, password: str, locale: str | None = None) -> Any:
        if ctx.session is not None:
            raise vim.fault.InvalidLogin(msg="Cannot complete login: this session is logged in already.")
        if not self.lab.access.check(userName, password):
            self.lab.sessions.refused[userName] += 1
            self.lab.events.post(
                vim.event.BadUsernameSessionEvent,
                user=userName,
                message=f"Cannot login {userName}@{ctx.address}",
                ipAddress=ctx.address,
            )
            raise vim.fault.InvalidLogin(msg="Cannot complete login due to an incorrect user name or password.")
        return self._opened(ctx, userName, locale)

    def _opened(self, ctx: Any, userName: str, locale: str | None) -> Any:
        session = self.lab.sessions.open(userName, ctx.address, ctx.agent, locale or "en")
        ctx.begin(session)
        self.lab.events.post(
            vim.event.UserLoginSessionEvent,
            user=userName,
            message=f"User {userName}@{ctx.address} logged in as {ctx.agent}",
            ipAddress=ctx.address,
            userAgent=ctx.agent,
            locale=locale or "en",
            sessionId=session.key,
        )
        return session.user_session()

    def Logout(self, ctx: Any) -> None:
        self.lab.events.post(
            vim.event.UserLogoutSessionEvent,
            user=ctx.session.user,
            message=f"User {ctx.session.user}@{ctx.address} logged out",
            ipAddress=ctx.address,
            sessionId=ctx.session.key,
            callCount=ctx.session.user_session().callCount,
        )
        self.lab.sessions.close(ctx.session)

    def SessionIsActive(self, ctx: Any, sessionID: str, userName: str) -> bool:
        return any(s.key == sessionID and s.user == userName for s in self.lab.sessions.all())

    def TerminateSession(self, ctx: Any, sessionId: list[str]) -> None:
        known = {s.key: s for s in self.lab.sessions.all()}
        if ctx.session.key in sessionId:
            raise vmodl.fault.InvalidArgument(invalidProperty="sessionId", msg="A session cannot terminate itself.")
        for key in sessionId:
            if key not in known:
                raise vim.fault.NotFound(msg="The session could not be found.")
            self.lab.sessions.close(known[key])

    def AcquireGenericServiceTicket(self, ctx: Any, spec: Any) -> Any:
        return self.lab.service_tickets.acquire(ctx, spec)

    def LoginBySSPI(self, ctx: Any, base64Token: str, locale: str | None = None) -> Any:
        if ctx.session is not None:
            raise vim.fault.InvalidLogin(msg="Cannot complete login: this session is logged in already.")
        if self.lab.domain is None:
            raise vmodl.fault.NotSupported(msg="This server is not joined to an Active Directory domain.")
        return self._opened(ctx, self.lab.domain.step(ctx, base64Token), locale)

    def SetLocale(self, ctx: Any, locale: str) -> None:
        ctx.session.user_session().locale = locale

    def UpdateServiceMessage(self, ctx: Any, message: str) -> None:
        self.set("message", message)
