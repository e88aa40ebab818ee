"""What options mean together."""

from itertools import product
from pathlib import Path

import pytest

from engine.config import integrated_logon
from engine.config.effective import load
from engine.config.options import Settings
from engine.config.rules import check_rules, require_runnable
from engine.errors import ConfigError

READY = {"HOST": "vc", "USERNAME": "u", "TRANSPORT_MODE": "nbdssl"}


def rules(**values: object) -> dict[str, str]:
    return {finding.rule_id: finding.severity for finding in check_rules(Settings.of(**READY | values))}


def test_ready_settings_have_no_findings() -> None:
    assert rules() == {}
    assert require_runnable(Settings.of(**READY)) == []


@pytest.mark.parametrize(
    ("mode", "mountpoint", "snapshot"),
    list(product(("san", "nbd", "nbdssl", "hotadd", "https"), ("fail", "delete"), ("fail", "delete"))),
)
def test_only_hotadd_needs_equal_preexisting_values(mode: str, mountpoint: str, snapshot: str) -> None:
    found = rules(TRANSPORT_MODE=mode, PREEXISTING_MOUNTPOINT=mountpoint, PREEXISTING_VCB_SNAPSHOT=snapshot)
    assert ("hotadd-preexisting-equal" in found) == (mode == "hotadd" and mountpoint != snapshot)


@pytest.mark.parametrize(
    ("values", "rule", "severity"),
    [
        ({"HOST": ""}, "mandatory", "error"),
        ({"USERNAME": ""}, "mandatory", "error"),
        ({"SNAPSHOT_POLICY": "manual", "PREEXISTING_MOUNTPOINT": "delete"}, "manual-mountpoint-delete", "error"),
        ({"TRANSPORT_MODE": "nbd"}, "nbd-clear", "warning"),
        ({"TRANSPORT_FALLBACK": "nbd"}, "fallback-clear", "warning"),
        ({"TRANSPORT_FALLBACK": "nbdssl"}, "fallback-repeats", "note"),
        ({"PORT": 902}, "port-902", "warning"),
        ({"CA_FILE": "/ca.pem", "THUMBPRINT": "ab" * 32}, "two-trusts", "note"),
        ({"BACKOFF_TIME": 30}, "backoff-unused", "note"),
        ({"SNAPSHOT_POLICY": "createonly"}, "createonly-repeats", "note"),
        ({"SNAPSHOT_POLICY": "deleteonly", "PREEXISTING_VCB_SNAPSHOT": "delete"}, "preexisting-unused", "note"),
    ],
)
def test_rule(values: dict[str, object], rule: str, severity: str) -> None:
    assert rules(**values) == {rule: severity}
    finding = check_rules(Settings.of(**READY | values))[0]
    assert finding.fix
    assert finding.options
    if severity == "error":
        with pytest.raises(ConfigError) as caught:
            require_runnable(Settings.of(**READY | values))
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("libraries", "severity"), [((), "error"), (("spnego",), "error"), (("spnego", "gssapi"), "note")]
)
def test_integrated_logon_is_an_error_only_where_it_cannot_work(
    monkeypatch: pytest.MonkeyPatch, libraries: tuple[str, ...], severity: str
) -> None:
    monkeypatch.setattr(integrated_logon, "find_spec", lambda name: object() if name in libraries else None)
    monkeypatch.delenv(integrated_logon.NTLM_STORE, raising=False)
    assert rules(USERNAME="__SSPI__") == {"sspi": severity}
    finding = check_rules(Settings.of(**READY | {"USERNAME": "__sspi__"}))[0]
    assert ("pip install" in finding.fix) == (severity == "error")


def test_what_integrated_logon_does_not_go_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrated_logon, "find_spec", lambda name: object())
    found = rules(USERNAME="__sspi__", HOST="10.0.0.7", PASSWORD_FILE="/pw")
    assert found == {"sspi-address": "warning", "sspi": "note", "sspi-password": "note"}


def test_backoff_with_retries_is_fine() -> None:
    assert rules(BACKOFF_TIME=30, MAX_RETRIES=1) == {}


@pytest.mark.parametrize(
    ("mode", "rule"), [(0o644, "password-readable"), (0o640, "password-readable"), (0o600, "password-plain")]
)
def test_a_password_in_a_file(tmp_path: Path, mode: int, rule: str) -> None:
    file = tmp_path / "config.js"
    file.write_text('HOST="vc";\nUSERNAME="u";\nTRANSPORT_MODE="nbdssl";\nPASSWORD="pa55word";\n')
    file.chmod(mode)
    findings = check_rules(load(file, {}, {}))
    assert [finding.rule_id for finding in findings] == [rule]
    assert (findings[0].file, findings[0].line) == (str(file), 4)
    assert "pa55word" not in str(findings)


def test_a_password_in_the_environment_is_a_warning() -> None:
    settings = load(None, {"VCB_PASSWORD": "pa55word"}, READY)
    assert [finding.rule_id for finding in check_rules(settings)] == ["password-plain"]


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        require_runnable(Settings.of())
    assert "HOST is not set" in caught.value.sentence
    assert "USERNAME is not set" in caught.value.sentence
