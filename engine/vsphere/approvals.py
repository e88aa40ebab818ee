"""Certificates that the operator approved, one for each host:port: `certificates.toml` in the state directory, 0600.

    ["vcenter.example:443"]
    sha256 = "AB:CD:..."
    approved = 2026-11-23T02:15:00Z

An approval is exact: the certificate of that address must be this one, whatever a CA says.
"""

import os
import stat
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import tomli_w
from cryptography import x509

from engine.errors import ConfigError
from engine.state_directory import StateDirectory, private_directory
from engine.vsphere.trust import Pins, address, fingerprint, parse_thumbprint, peer_certificate

FILE_NAME = "certificates.toml"


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the file."""

    sha256: str
    approved: datetime


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as a server shows it, unverified: what the operator compares."""

    where: str
    sha256: str
    sha1: str
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime


class Approvals:
    """The file, read anew by each call: what was forgotten a moment ago is trusted by nobody any more."""

    def __init__(self, state: StateDirectory) -> None:
        self.path = state.root / FILE_NAME

    def all(self) -> dict[str, Approval]:
        """By host:port. Raises ConfigError when the file can't be read, or others may write it."""
        try:
            with open(self.path, "rb", opener=_no_symlink) as stream:
                self._require_private(os.fstat(stream.fileno()))
                return msgspec.convert(tomllib.loads(stream.read().decode()), dict[str, Approval])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, msgspec.ValidationError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"the approved certificates cannot be read: {why}.", file=str(self.path), hint="vcb trust lists them."
            ) from None

    def pins(self) -> Pins:
        """SHA-256 (bare hex) by host:port, for `engine.vsphere.trust.Trust`."""
        return {
            where: parse_thumbprint(approval.sha256, option=str(self.path)) for where, approval in self.all().items()
        }

    def approve(self, where: str, sha256: str) -> None:
        """From now on host:port must show exactly this certificate; replaces what was approved for it before."""
        parse_thumbprint(sha256)
        known = self.all()
        self._save({**known, where: Approval(sha256=sha256, approved=datetime.now(UTC).replace(microsecond=0))})

    def forget(self, where: str) -> bool:
        """False when nothing was approved for it."""
        known = self.all()
        if known.pop(where, None) is None:
            return False
        self._save(known)
        return True

    def _save(self, known: dict[str, Approval]) -> None:
        private_directory(self.path.parent)
        fresh = self.path.with_suffix(f".{os.getpid()}.new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(tomli_w.dumps({where: msgspec.to_builtins(known[where]) for where in sorted(known)}).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self.path)

    def _require_private(self, status: os.stat_result) -> None:
        if status.st_uid not in (0, os.geteuid()) or stat.S_IMODE(status.st_mode) & 0o022:
            raise ConfigError(
                "others may write the approved certificates, so they prove nothing",
                file=str(self.path),
                hint=f"Look at vcb trust, then: chmod 600 {self.path}",
            )


def show(host: str, port: int) -> Shown:
    """Fetches the certificate of host:port; nothing is sent but the handshake. Raises ConnectError."""
    der = peer_certificate(host, port)
    certificate = x509.load_der_x509_certificate(der)
    return Shown(
        address(host, port),
        fingerprint(der),
        fingerprint(der, "sha1"),
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _no_symlink(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
