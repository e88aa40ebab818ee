"""How a session proves who it is: what `Session.log_in` calls, at the start and after the session has ended."""

from typing import Any, Protocol

from engine.reporter import Reporter
from engine.secret import Secret


class Login(Protocol):
    """One way to log in. `user` is the name for messages."""

    user: str

    def __call__(self, session_manager: Any, report: Reporter) -> Any:
        """One attempt; returns the UserSession. Raises the server's raw fault, or LoginError for what this side
        lacks."""
        ...


class PasswordLogin:
    def __init__(self, user: str, password: Secret) -> None:
        self.user = user
        self._password = password

    def __call__(self, session_manager: Any, report: Reporter) -> Any:
        return session_manager.Login(self.user, self._password.reveal(), None)
