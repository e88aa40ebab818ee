"""The second line of defence: texts of servers and libraries that quote a secret."""

import base64
import json
import threading

import pytest
from pyVmomi import vim

from engine.secret import Secret, redact
from engine.vsphere.faults import translate
from tui.cli import app
from tui.cli.privacy import guarded
from tui.cli.screen import Screen

PASSWORD = "quo\"te's <&> ünd/+%"


@pytest.fixture(autouse=True)
def secret() -> Secret:
    return Secret(PASSWORD)


@pytest.mark.parametrize(
    "form",
    [
        PASSWORD,
        repr(PASSWORD),
        repr(PASSWORD.encode()),
        json.dumps(PASSWORD),
        json.dumps(PASSWORD, ensure_ascii=False),
        "quo\"te's &lt;&amp;&gt; ünd/+%",
        "quo&quot;te&#x27;s &lt;&amp;&gt; ünd/+%",
        "quo%22te%27s+%3C%26%3E+%C3%BCnd%2F%2B%25",
        "quo%22te%27s%20%3C%26%3E%20%C3%BCnd/%2B%25",
        base64.b64encode(PASSWORD.encode()).decode(),
        base64.b64encode(PASSWORD.encode("utf-16-le")).decode(),
    ],
)
def test_every_written_form_is_known(form: str) -> None:
    assert redact(f"before {form} after") in ("before *** after", "before '***' after", "before b\"***\" after",
                                              "before b'***' after", 'before "***" after')  # fmt: skip


def test_a_server_that_quotes_the_password() -> None:
    error = translate(vim.fault.InvalidLogin(msg=f"no: {PASSWORD}"), doing="logging in", subject="vc")
    assert PASSWORD not in str(error)
    assert "The server says: no: ***" in error.sentence


def test_the_machines_line_hides_secrets_in_prose_only(capsys: pytest.CaptureFixture[str]) -> None:
    Secret("web01")  # as weak passwords go
    error = {"sentence": f"it said {PASSWORD}", "code": "login"}
    Screen(as_json=True).result({"points": ["/backup/web01"], "error": error, "vms": [{"sentence": PASSWORD}]})
    answer = json.loads(capsys.readouterr().out)
    assert answer == {
        "points": ["/backup/web01"],
        "error": {"sentence": "it said ***", "code": "login"},
        "vms": [{"sentence": "***"}],
    }


def test_the_traceback_of_a_defect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise RuntimeError(f"cannot handle {PASSWORD!r}")

    monkeypatch.setattr(app, "application", broken)
    assert app.main(["plan", "x"]) == 1
    said = capsys.readouterr().err
    assert "RuntimeError: cannot handle" in said
    assert "***" in said
    assert "defect of vcb" in said
    assert "quo" not in said


def test_the_traceback_of_a_thread(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise RuntimeError(f"cannot handle {PASSWORD!r}")

    before = threading.excepthook
    with guarded():
        thread = threading.Thread(target=broken)
        thread.start()
        thread.join()
    assert threading.excepthook is before
    said = capsys.readouterr().err
    assert "RuntimeError" in said
    assert "quo" not in said
