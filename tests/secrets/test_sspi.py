"""Integrated logon: the real pyspnego client against a lab that is joined to a domain."""

import base64
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engine.config import integrated_logon
from engine.errors import LoginError
from engine.events import LogRecord
from engine.lab import Lab
from engine.reporter import Reporter, Volume
from engine.secret import Secret
from engine.vsphere import sspi
from engine.vsphere.session import Session, connect
from engine.vsphere.trust import Trust
from tests.secrets.kerberos import REALM, Kerberos, kerberos_here
from tui.cli.app import main

PASSWORD = "of-the-domain"
ACCOUNT = "LAB:backup"


@pytest.fixture
def kerberos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kerberos]:
    monkeypatch.setenv("PATH", os.environ["PATH"] + os.pathsep + "/usr/sbin")  # Debian keeps the servers there
    if importlib.util.find_spec("gssapi") is None:
        if os.environ.get("VCB_REQUIRE_TOOLS") == "1":
            pytest.fail("gssapi is not installed, and VCB_REQUIRE_TOOLS=1 promises it (pyspnego[kerberos])")
        pytest.skip("gssapi is not installed (pyspnego[kerberos])")
    with kerberos_here(tmp_path / "kdc", "backup", PASSWORD) as running:
        yield running


class Joined:
    """A lab in a process of its own, joined to a domain; and what its client said."""

    def __init__(self, facts: dict[str, str]) -> None:
        self.facts = facts
        self.said: list[str] = []

    def log_in(self, host: str = "localhost") -> Session:
        report = Reporter(self._take, Volume(6))
        trust = Trust.from_settings(Path(self.facts["ca_file"]), None)
        return connect(host, urlsplit(self.facts["url"]).port or 443, "__SSPI__", Secret("unused"), trust, report)

    def _take(self, event: object) -> None:
        if isinstance(event, LogRecord):
            self.said.append(event.text)


Join = Callable[..., Joined]


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Join]:
    """A function that starts a lab whose domain has the accounts given."""
    running: list[subprocess.Popen[str]] = []

    def start(accounts: str, **environ: str) -> Joined:
        store = tmp_path / "domain"
        store.write_text(accounts + "\n")
        command = [sys.executable, "-m", "engine.lab", "--state", str(tmp_path / "lab"), "--vms", "2"]
        process = subprocess.Popen(
            [*command, "--domain", str(store)], stdout=subprocess.PIPE, text=True, env=os.environ | environ
        )
        running.append(process)
        assert process.stdout
        return Joined(json.loads(process.stdout.readline()))

    yield start
    for process in running:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def ntlm_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def have(line: str) -> None:
        file = tmp_path / "credentials"
        file.write_text(line + "\n")
        monkeypatch.setenv("NTLM_USER_FILE", str(file))

    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path / 'no-tickets'}")
    return have


def test_the_challenge_is_answered_until_there_is_a_session(join: Join, ntlm_credential: Callable[[str], None]) -> None:
    ntlm_credential(f"{ACCOUNT}:{PASSWORD}")
    lab = join(f"{ACCOUNT}:{PASSWORD}")
    with lab.log_in() as session:
        assert session.user_name == r"LAB\backup"
        assert session.generation == 1
        assert session.read(lambda: session.content.rootFolder)
    assert [text for text in lab.said if text.startswith("Integrated logon")][-1] == "Integrated logon by ntlm"
    sent = [text for text in lab.said if text.startswith("-> LoginBySSPI")]
    assert len(sent) == 2
    assert all(">***</base64Token>" in text for text in sent)
    assert [text for text in lab.said if text.startswith("<- LoginBySSPI")] == [
        f"<- LoginBySSPI {status} (not shown: it carries authority)" for status in (500, 200)
    ]


@pytest.mark.parametrize("command", ["inventory", "backup"])
def test_a_whole_command_needs_no_password(
    join: Join,
    ntlm_credential: Callable[[str], None],
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    ntlm_credential(f"{ACCOUNT}:{PASSWORD}")
    lab = join(f"{ACCOUNT}:{PASSWORD}")
    (tmp_path / "root").mkdir()
    words = [*([command] if command == "inventory" else [command, "name:vm-0001"]), "--host", "localhost"]
    words += [
        "--port",
        str(urlsplit(lab.facts["url"]).port),
        "--username",
        "__sspi__",
        "--ca-file",
        lab.facts["ca_file"],
    ]
    code = main([*words, "--backuproot", str(tmp_path / "root"), "--transport", "nbdssl", "--keep-free", "0", "--json"])
    said = capsys.readouterr()
    assert code == (0 if command == "inventory" else 1), said.err
    answer = json.loads(said.out)
    if command == "inventory":
        assert len(answer["vms"]) == 2
    else:
        assert answer["error"]["code"] == "vm-not-found", answer


def test_a_session_that_ended_is_opened_again_by_a_new_exchange(
    join: Join, ntlm_credential: Callable[[str], None]
) -> None:
    ntlm_credential(f"{ACCOUNT}:{PASSWORD}")
    lab = join(f"{ACCOUNT}:{PASSWORD}")
    with lab.log_in() as session, lab.log_in() as other:
        other.content.sessionManager.TerminateSession([session.session_key])
        session.ensure_alive()
        assert session.generation == 2
        assert session.user_name == r"LAB\backup"


def test_a_refusal_is_final(join: Join, ntlm_credential: Callable[[str], None]) -> None:
    ntlm_credential(f"{ACCOUNT}:not-{PASSWORD}")
    lab = join(f"{ACCOUNT}:{PASSWORD}")
    with pytest.raises(LoginError, match="refused what ntlm proved") as caught:
        lab.log_in()
    assert caught.value.fault == "InvalidLogin"
    assert len([text for text in lab.said if text.startswith("-> LoginBySSPI")]) == 2


def test_without_ticket_nothing_is_sent(join: Join, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path / 'no-tickets'}")
    lab = join(f"{ACCOUNT}:{PASSWORD}")
    with pytest.raises(LoginError, match="failed on this machine") as caught:
        lab.log_in()
    assert "kinit" in caught.value.hint
    assert not [text for text in lab.said if "LoginBySSPI" in text]


def test_without_the_library_nothing_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrated_logon, "find_spec", lambda name: None)
    with pytest.raises(LoginError, match="pyspnego is not installed") as caught:
        connect("192.0.2.1", 443, "__sspi__", Secret(""), Trust.from_settings(None, None), Reporter(print, Volume(0)))
    assert "[sspi]" in caught.value.hint


@pytest.mark.parametrize(("esx", "why"), [(False, "not joined to a domain"), (True, "vCenter only")])
def test_servers_that_cannot(tmp_path: Path, ntlm_credential: Callable[[str], None], esx: bool, why: str) -> None:
    ntlm_credential(f"{ACCOUNT}:{PASSWORD}")
    with Lab.start(tmp_path / "lab", seed="empty", guest=False, esx=esx) as lab:
        trust = Trust.from_settings(lab.ca_file, None)
        with pytest.raises(LoginError, match=why):
            connect(lab.host, lab.port, "__sspi__", Secret(""), trust, Reporter(lambda event: None, Volume(0)))
        assert not lab.vsphere.sessions.refused
        assert not lab.vsphere.sessions.logins


class _Endless:
    """A session manager that always has another question."""

    def __init__(self, challenge: str) -> None:
        self.challenge, self.asked = challenge, 0

    def LoginBySSPI(self, token: str, locale: None) -> None:
        self.asked += 1
        raise sspi.vim.fault.SSPIChallenge(base64Token=self.challenge)


@pytest.mark.parametrize("challenge", ["not base64!", "", base64.b64encode(b"nonsense").decode()])
def test_a_server_that_answers_nonsense(ntlm_credential: Callable[[str], None], challenge: str) -> None:
    ntlm_credential(f"{ACCOUNT}:{PASSWORD}")
    server = _Endless(challenge)
    with pytest.raises(LoginError):
        sspi.IntegratedLogin("vc.example")(server, Reporter(lambda event: None, Volume(0)))
    assert 1 <= server.asked <= sspi.LEGS


def test_kerberos(join: Join, kerberos: Kerberos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NTLM_USER_FILE", raising=False)
    for name, value in kerberos.client_environment.items():
        monkeypatch.setenv(name, value)
    lab = join(f":backup@{REALM}:-", KRB5_KTNAME=str(kerberos.keytab))
    with lab.log_in() as session:
        assert session.user_name == f"backup@{REALM}"
    assert "Integrated logon by kerberos" in lab.said
