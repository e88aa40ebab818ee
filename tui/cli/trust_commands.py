"""vcb trust: certificates of vCenter and ESXi hosts that the operator approved, one for each address."""

import hmac
import sys
from typing import Annotated

from cyclopts import App, Parameter

from engine.errors import ConfigError, TrustError
from engine.state_directory import StateDirectory
from tui.cli.flags import Common, JsonFlag, unchecked_settings
from tui.cli.screen import Screen
from tui.figures import clean

trust = App(name="trust", help="The certificates that were approved: list, approve, forget.")

Where = Annotated[
    str | None, Parameter(name="HOST[:PORT]", help="An address; without it HOST and PORT of the configuration.")
]


def list_approved(*, json: JsonFlag = False) -> int:
    """List the approved certificates: each address must show exactly its one."""
    from engine.vsphere.approvals import Approvals  # noqa: PLC0415

    screen, approvals = Screen(as_json=json), Approvals(StateDirectory.default())
    known = approvals.all()
    for where, approval in sorted(known.items()):
        screen.line(where, "bold")
        screen.line(f"    SHA-256 {approval.sha256}")
        screen.line(f"    approved {approval.approved:%Y-%m-%d %H:%M} UTC", "dim")
    if not known:
        screen.line("No certificate is approved. CA_FILE and THUMBPRINT are asked, else: vcb trust approve HOST:PORT")
    rows = [{"address": where, "sha256": one.sha256, "approved": one.approved} for where, one in sorted(known.items())]
    screen.result({"certificates": rows, "file": str(approvals.path)})
    return 0


def approve(
    where: Where = None,
    /,
    *,
    sha256: Annotated[str, Parameter(show_default=False)] = "",
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Show the certificate that an address presents, and approve it after a yes. From then on only that one is taken.

    Compare the fingerprint at the server's own console first. Nothing but the handshake is sent.

    Parameters
    ----------
    sha256
        For scripts: the fingerprint that you know to be right. Another one is refused; this one is not asked about.
    """
    from engine.vsphere.approvals import Approvals, show  # noqa: PLC0415
    from engine.vsphere.trust import parse_thumbprint  # noqa: PLC0415

    screen, approvals = Screen(as_json=json), Approvals(StateDirectory.default())
    shown = show(*_address(where, common))
    before = approvals.all().get(shown.where)
    screen.line(shown.where, "bold")
    for name, value in (("subject", shown.subject), ("issuer", shown.issuer), ("SHA-1", shown.sha1)):
        screen.line(f"    {name:<8}{clean(value)}")
    screen.line(f"    valid   {shown.not_before:%Y-%m-%d} to {shown.not_after:%Y-%m-%d}")
    screen.line(f"    SHA-256 {shown.sha256}", "bold")
    if before and before.sha256 != shown.sha256:
        screen.line(f"This is NOT the certificate approved on {before.approved:%Y-%m-%d}:", "bold red")
        screen.line(f"    SHA-256 {before.sha256}", "red")
    if sha256 and not hmac.compare_digest(parse_thumbprint(sha256, option="--sha256"), parse_thumbprint(shown.sha256)):
        raise TrustError(
            f"{shown.where} shows another certificate than --sha256 names; nothing was approved.",
            fault="ThumbprintMismatch",
            hint="Compare it at the server's own console. Someone may be between you and the server.",
        )
    if not sha256 and not _confirmed():
        raise TrustError("Not confirmed; nothing was approved.")
    approvals.approve(shown.where, shown.sha256)
    screen.line(f"Approved for {shown.where}.", "green")
    screen.result({"address": shown.where, "sha256": shown.sha256, "replaced": before.sha256 if before else None})
    return 0


def forget(where: Where = None, /, *, json: JsonFlag = False, common: Common = None) -> int:
    """Take an approval back."""
    from engine.vsphere.approvals import Approvals  # noqa: PLC0415
    from engine.vsphere.trust import address  # noqa: PLC0415

    name = address(*_address(where, common))
    screen = Screen(as_json=json)
    if not Approvals(StateDirectory.default()).forget(name):
        raise ConfigError(f"nothing is approved for {name}", hint="vcb trust list")
    screen.line(f"Nothing is approved for {name} any more.")
    screen.result({"forgotten": name})
    return 0


def _address(where: str | None, common: object) -> tuple[str, int]:
    """`esx01`, `esx01:902`, `[fd00::1]:443`. Raises ConfigError."""
    if where is None:
        settings = unchecked_settings(common)
        if not settings.HOST:
            raise ConfigError("no address is given, and the configuration names no HOST")
        return settings.HOST, settings.PORT
    host, colon, port = where.rpartition(":")
    if not colon or where.endswith("]"):
        return where.strip("[]"), 443
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"{where} is no address", hint="It is HOST or HOST:PORT.")
    return host.strip("[]"), int(port)


def _confirmed() -> bool:
    """Raises ConfigError where nobody is there to compare a fingerprint."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError("an approval wants someone who compares", hint="For scripts: --sha256 FINGERPRINT.")
    print("Is this the server's own fingerprint? Type yes to approve it: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


for _order, (_name, _command) in enumerate({"list": list_approved, "approve": approve, "forget": forget}.items()):
    trust.command(_command, name=_name, sort_key=_order)
