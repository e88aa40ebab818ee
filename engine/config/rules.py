"""What options mean together: contradictions, dangers and misunderstandings, each with what to do about it."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

from engine.config.effective import error_of
from engine.config.finding import Finding, Severity
from engine.config.integrated_logon import LIBRARY_HINT, is_integrated, lacking
from engine.config.options import OPTIONS, SSPI, Settings

Rule = Callable[[Settings], Iterator[Finding]]
_OPEN_TO_OTHERS = 0o077


def check_rules(settings: Settings) -> list[Finding]:
    """All findings: what reading the files brought up, then the rules, errors first within these."""
    found = [finding for rule in _RULES for finding in rule(settings)]
    order = {"error": 0, "warning": 1, "note": 2}
    return [*settings.findings, *sorted(found, key=lambda finding: order[finding.severity])]


def require_runnable(settings: Settings) -> list[Finding]:
    """The warnings and notes of settings that a job may run with. Raises ConfigError with all errors."""
    findings = check_rules(settings)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise error_of(errors)
    return findings


def _finding(settings: Settings, rule_id: str, severity: Severity, text: str, fix: str, *options: str) -> Finding:
    """A finding placed where the first of its options that a file sets is set."""
    origin = next((origin for name in options if (origin := settings.origin(name)).file), None)
    file, line, column = (str(origin.file), origin.line, origin.column) if origin else ("", 0, 0)
    return Finding(rule_id, severity, text, options, fix, file, line, column)


def _mandatory(settings: Settings) -> Iterator[Finding]:
    for name, option in OPTIONS.items():
        if option.required and not settings.value_of(name):
            text = f"{name} is not set, and it has no default."
            fix = f"Set it in the configuration file, as VCB_{name}, or by --{name.lower()}."
            yield _finding(settings, "mandatory", "error", text, fix, name)


def _hotadd_pair(settings: Settings) -> Iterator[Finding]:
    mountpoint, snapshot = settings.PREEXISTING_MOUNTPOINT, settings.PREEXISTING_VCB_SNAPSHOT
    if settings.TRANSPORT_MODE == "hotadd" and mountpoint != snapshot:
        yield _finding(
            settings,
            "hotadd-preexisting-equal",
            "error",
            f"with TRANSPORT_MODE hotadd, PREEXISTING_MOUNTPOINT ({mountpoint}) and PREEXISTING_VCB_SNAPSHOT "
            f"({snapshot}) must be equal: the old snapshot cannot go while its disks are attached to the proxy.",
            "Give both the same value.",
            "PREEXISTING_MOUNTPOINT",
            "PREEXISTING_VCB_SNAPSHOT",
            "TRANSPORT_MODE",
        )


def _manual_mountpoint(settings: Settings) -> Iterator[Finding]:
    if settings.SNAPSHOT_POLICY == "manual" and settings.PREEXISTING_MOUNTPOINT == "delete":
        yield _finding(
            settings,
            "manual-mountpoint-delete",
            "error",
            "SNAPSHOT_POLICY manual never removes a snapshot, but PREEXISTING_MOUNTPOINT delete removes the one that "
            "belongs to the old mount point.",
            "Set PREEXISTING_MOUNTPOINT to fail, or choose another SNAPSHOT_POLICY.",
            "PREEXISTING_MOUNTPOINT",
            "SNAPSHOT_POLICY",
        )


def _sspi(settings: Settings) -> Iterator[Finding]:
    if not is_integrated(settings.USERNAME):
        return
    if missing := lacking():
        text = f"USERNAME {SSPI} asks for integrated logon, which is not possible on this machine: {missing}."
        yield _finding(settings, "sspi", "error", text, LIBRARY_HINT, "USERNAME")
        return
    text = f"USERNAME {SSPI} is integrated logon: the Kerberos ticket of the user that runs vcb takes the place of the "
    text += "password. HOST must be a vCenter that is joined to the domain."
    fix = "Get a ticket with kinit (klist shows it), and give that account the backup role in vCenter."
    yield _finding(settings, "sspi", "note", text, fix, "USERNAME")
    if _is_address(settings.HOST):
        text = f"HOST is an address, and Kerberos knows vCenter by its name: USERNAME {SSPI} finds no ticket for it."
        yield _finding(settings, "sspi-address", "warning", text, "Set HOST to vCenter's full DNS name.", "HOST")
    if settings.PASSWORD or settings.PASSWORD_FILE:
        name = "PASSWORD" if settings.PASSWORD else "PASSWORD_FILE"
        text = f"{name} is set, but USERNAME {SSPI} has no password: it is not used."
        yield _finding(settings, "sspi-password", "note", text, "Leave it out.", name)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _password(settings: Settings) -> Iterator[Finding]:
    if not settings.PASSWORD:
        return
    origin = settings.origin("PASSWORD")
    if origin.file and _open_to_others(origin.file):
        yield _finding(
            settings,
            "password-readable",
            "error",
            f"PASSWORD stands in {origin.file}, which other users of this machine may read.",
            f"Run chmod 600 {origin.file}, or move the password to PASSWORD_FILE.",
            "PASSWORD",
        )
    elif origin.file or origin.kind == "environment":
        where = "in the configuration file" if origin.file else "in the environment"
        yield _finding(
            settings,
            "password-plain",
            "warning",
            f"PASSWORD stands {where} in plain text and overrides every other source.",
            "Use PASSWORD_FILE, the systemd credential vcb-password, or the keyring.",
            "PASSWORD",
        )


def _open_to_others(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & _OPEN_TO_OTHERS)
    except OSError:
        return True


def _clear_network(settings: Settings) -> Iterator[Finding]:
    if settings.TRANSPORT_MODE == "nbd":
        text = "TRANSPORT_MODE nbd sends the disks' contents over the network unencrypted."
        yield _finding(settings, "nbd-clear", "warning", text, "Use nbdssl unless the network is yours alone.",
                       "TRANSPORT_MODE")  # fmt: skip
    if "nbd" in settings.TRANSPORT_FALLBACK and settings.TRANSPORT_MODE != "nbd":
        text = "TRANSPORT_FALLBACK contains nbd: a fallback may send the disks' contents unencrypted."
        yield _finding(settings, "fallback-clear", "warning", text, "Use nbdssl there.", "TRANSPORT_FALLBACK")


def _fallback_repeats(settings: Settings) -> Iterator[Finding]:
    if settings.TRANSPORT_MODE in settings.TRANSPORT_FALLBACK:
        text = f"TRANSPORT_FALLBACK repeats TRANSPORT_MODE {settings.TRANSPORT_MODE}; it is tried once."
        yield _finding(settings, "fallback-repeats", "note", text, "Take it out of the list.", "TRANSPORT_FALLBACK")


def _old_port(settings: Settings) -> Iterator[Finding]:
    if settings.PORT == 902:
        text = "PORT is 902, the default of VCB 1.0; the vSphere API answers on 443, and disk data finds 902 by itself."
        yield _finding(settings, "port-902", "warning", text, "Set PORT to 443.", "PORT")


def _two_trusts(settings: Settings) -> Iterator[Finding]:
    if settings.CA_FILE and settings.THUMBPRINT:
        text = "CA_FILE and THUMBPRINT are both set; HOST must show exactly the certificate of THUMBPRINT."
        yield _finding(settings, "two-trusts", "note", text, "Leave one of them out.", "THUMBPRINT", "CA_FILE")


def _backoff(settings: Settings) -> Iterator[Finding]:
    if settings.MAX_RETRIES == 0 and settings.origin("BACKOFF_TIME").kind != "default":
        text = "BACKOFF_TIME is set, but MAX_RETRIES is 0: nothing is ever tried again."
        yield _finding(settings, "backoff-unused", "note", text, "Set MAX_RETRIES as well.", "BACKOFF_TIME")


def _snapshot_pair(settings: Settings) -> Iterator[Finding]:
    policy, preexisting = settings.SNAPSHOT_POLICY, settings.PREEXISTING_VCB_SNAPSHOT
    if policy == "createonly" and preexisting == "fail":
        text = "SNAPSHOT_POLICY createonly leaves its snapshot, so the next backup of the same VM fails on it."
        fix = "Remove the snapshot between the runs, or set PREEXISTING_VCB_SNAPSHOT to delete."
        yield _finding(settings, "createonly-repeats", "note", text, fix, "SNAPSHOT_POLICY")
    if policy in ("manual", "deleteonly") and preexisting == "delete":
        text = f"PREEXISTING_VCB_SNAPSHOT has no effect with SNAPSHOT_POLICY {policy}, which needs the snapshot."
        yield _finding(settings, "preexisting-unused", "note", text, "Leave it out.", "PREEXISTING_VCB_SNAPSHOT")


_RULES: tuple[Rule, ...] = (
    _mandatory,
    _hotadd_pair,
    _manual_mountpoint,
    _sspi,
    _password,
    _clear_network,
    _fallback_repeats,
    _old_port,
    _two_trusts,
    _backoff,
    _snapshot_pair,
)
