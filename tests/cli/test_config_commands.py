"""vcb config, whole command lines: what is printed, what is saved, and that no password is shown."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.config.samples import write
from tui.cli.app import main

Capture = pytest.CaptureFixture[str]
MARKER = "hunter22hunter"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with the sample files, and nothing of this machine."""
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    monkeypatch.delenv("VCB_CONFIG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    Path("root").mkdir()


class Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """A person at the terminal who types these lines."""
    monkeypatch.setattr(sys, "stdin", Keyboard("".join(f"{line}\n" for line in lines)))


def told(capsys: Capture) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


def run(*words: str) -> int:
    return main(["config", *words])


def test_check_prints_like_a_compiler(capsys: Capture) -> None:
    Path("bad.toml").write_text('BACKUPROOT = "root"\nHOST = "vc"\n  PORT = "https"\nUSERNAME = "名前"x\n')
    assert run("check", "bad.toml") == 2
    assert capsys.readouterr().out.splitlines() == [
        'bad.toml:3:10: error: PORT must be a whole number from 1 to 65535; "https" is not [value]',
        '      PORT = "https"',
        "             ^",
        "bad.toml:4:16: error: something follows the value of USERNAME [text-after-value]",
        '    USERNAME = "名前"x',
        "                     ^",
        "    -> take it out, or put # before it",
        "bad.toml: 2 errors",
    ]


def test_the_caret_stands_under_the_cell(capsys: Capture) -> None:
    """A Japanese character is two cells wide."""
    Path("wide.js").write_text('/* 日本語 */ PORT="99999";\nHOST="vc";\nUSERNAME="u";\nBACKUPROOT="root";\n')
    assert run("check", "wide.js") == 2
    lines = capsys.readouterr().out.splitlines()
    place = next(number for number, line in enumerate(lines) if "99999" in line and line.startswith("    "))
    assert lines[place + 1].index("^") == len("    /* 日本語 */ PORT=") + 3


def test_check_as_json_and_exit_codes(capsys: Capture) -> None:
    assert run("check", "minimal.toml", "--json") == 0
    assert told(capsys)["errors"] == 0
    Path("bad.js").write_text('HOST="vc";\nUSERNAME="u";\nLOGLEVEL="9";\n')
    assert run("check", "bad.js", "--json") == 2
    answered = told(capsys)
    (error,) = [finding for finding in answered["findings"] if finding["severity"] == "error"]
    assert (error["line"], error["rule"], error["options"], error["source"]) == (
        3,
        "value",
        ["LOGLEVEL"],
        'LOGLEVEL="9";',
    )
    assert answered["exit_code"] == 2
    assert run("check", "absent.js", "--json") == 2
    assert "No such file" in told(capsys)["error"]["sentence"]


def test_show_knows_every_origin(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("vcb.toml").write_text('HOST = "vc"\n\n[transport]\nNFC_BUFFER = "1 MiB"\n')
    monkeypatch.setenv("VCB_LOGLEVEL", "5")
    assert run("show", "vcb.toml", "--origin", "--port", "8443") == 0
    out = re.sub(" +", " ", capsys.readouterr().out)
    for row in ("HOST vc (vcb.toml:1)", "NFC_BUFFER 1 MiB (vcb.toml:4)", "LOGLEVEL 5 (environment)",
                "PORT 8443 (command line)",
                "HTTP_TIMEOUT 60 seconds (default)"):  # fmt: skip
        assert row in out
    assert run("show", "vcb.toml", "--json") == 0
    settings = told(capsys)["settings"]
    assert settings["HOST"] | {"default": ""} == {
        "value": "vc", "default": "", "unit": "", "origin": "file", "file": "vcb.toml", "line": 1,
    }  # fmt: skip


def test_set_changes_the_value_and_can_be_undone(capsys: Capture) -> None:
    before = Path("config.js").read_bytes()
    assert run("set", "config.js", "PORT=8443", "max-retries=3", "--yes", "--json") == 0
    answered = told(capsys)
    assert answered["written"] is True
    assert [line for line in answered["diff"] if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        '-// PORT="443";', '+PORT="8443";', '-// MAX_RETRIES="0";', '+MAX_RETRIES="3";',
    ]  # fmt: skip
    assert Path("config.js").read_bytes() == before.replace(b'// PORT="443"', b'PORT="8443"').replace(
        b'// MAX_RETRIES="0"', b'MAX_RETRIES="3"'
    )
    assert run("history", "config.js", "--json") == 0
    assert [row["what"] for row in told(capsys)["versions"]] == ["as it was found", "set PORT set MAX_RETRIES"]
    assert run("diff", "config.js") == 0
    assert '+PORT="8443";' in capsys.readouterr().out
    assert run("undo", "config.js", "--yes") == 0
    assert Path("config.js").read_bytes() == before
    assert run("redo", "config.js", "--yes") == 0
    assert b'PORT="8443"' in Path("config.js").read_bytes()
    assert run("undo", "config.js", "--yes") == run("undo", "config.js", "--yes") - 2 == 0
    assert "there is nothing to undo" in capsys.readouterr().err


def test_set_takes_out_and_creates(capsys: Capture) -> None:
    assert run("set", "minimal.toml", "--unset", "TRANSPORT_MODE", "--yes") == 0
    assert "TRANSPORT_MODE" not in Path("minimal.toml").read_text()
    assert run("set", "new.toml", "HOST=vc", "--yes") == 0
    assert Path("new.toml").read_text() == 'HOST = "vc"\n'
    assert Path("new.toml").stat().st_mode & 0o777 == 0o600
    assert run("set", "new.toml", "HOST=vc", "--yes") == 0
    assert "nothing to change" in capsys.readouterr().out


def test_set_asks_on_a_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path("vcb.toml").read_bytes()
    answer(monkeypatch, "n")
    assert run("set", "vcb.toml", "PORT=8443") == 130
    assert "Nothing was saved." in capsys.readouterr().err
    assert Path("vcb.toml").read_bytes() == before
    answer(monkeypatch, "y")
    assert run("set", "vcb.toml", "PORT=8443") == 0
    assert b"\nPORT = 8443\n" in Path("vcb.toml").read_bytes()


def test_without_a_terminal_there_is_no_silent_yes(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run("set", "vcb.toml", "PORT=8443") == 2
    assert "--yes" in capsys.readouterr().err
    assert b"8443" not in Path("vcb.toml").read_bytes()


def test_an_invalid_file_needs_the_word_twice(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path("vcb.toml").read_bytes()
    assert run("set", "vcb.toml", "PORT=99999", "--yes") == 2
    assert "--allow-invalid --yes" in capsys.readouterr().err
    for words in (["y", "n"], ["n"]):
        answer(monkeypatch, *words)
        assert run("set", "vcb.toml", "PORT=99999") == 130
    answer(monkeypatch, "n")
    assert run("set", "vcb.toml", "PORT=99999", "--allow-invalid") == 130
    assert Path("vcb.toml").read_bytes() == before
    assert run("set", "vcb.toml", "PORT=99999", "--allow-invalid", "--yes") == 0
    assert b"PORT = 99999" in Path("vcb.toml").read_bytes()
    answer(monkeypatch, "y", "y")
    assert run("set", "vcb.toml", "PORT=88888") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "vcb.toml", f"PASSWORD={MARKER}", "--yes"], "every user of this machine"),
        (["set", "vcb.toml", "PORT", "--yes"], "NAME=VALUE"),
        (["set", "vcb.toml", "PORTS=1", "--yes"], "did you mean PORT?"),
        (["set", "vcb.toml", "--yes"], "nothing to set"),
        (["set", "vcb.ini", "PORT=1", "--yes"], 'end with ".js"'),
        (["convert", "absent.js", "new.toml"], "No such file"),
        (["convert", "config.js", "new.ini"], 'end with ".js"'),
        (["check"], "no configuration file"),
        (["history"], "no configuration file"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], said: str, capsys: Capture) -> None:
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert MARKER not in out + err


def test_convert_there_and_back(capsys: Capture) -> None:
    Path("old.js").write_text(
        '// ours\nHOST="vc";\nUSERNAME="DOM\\\\vcb";\nLOGLEVEL="4";\nTRANSPORT_FALLBACK="nbdssl, https";\n'
    )
    assert run("convert", "old.js", "new.toml", "--yes", "--json") == 0
    answered = told(capsys)
    assert [remark["text"] for remark in answered["remarks"]] == [
        "1 line of comments, commented-out settings among them, stay behind"
    ]
    assert "[transport]" in Path("new.toml").read_text()
    assert run("convert", "new.toml", "back.js", "--yes") == 0
    assert "not an option of VCB" in capsys.readouterr().out
    assert run("diff", "old.js", "back.js", "--json") == 0
    assert told(capsys)["different"] is False


def test_diff_compares_values_not_texts(capsys: Capture) -> None:
    Path("a.js").write_text(f'NFC_BUFFER="1 MiB";\nPORT="443";\nPASSWORD="{MARKER}";\n')
    Path("b.toml").write_text(f'NFC_BUFFER = 1048576\nPORT = 8443\nPASSWORD = "{MARKER}x"\n')
    assert run("diff", "a.js", "b.toml") == 0
    out = capsys.readouterr().out
    assert out == "PORT\n  - 443\n  + 8443\nPASSWORD\n  - ***\n  + ***\n2 of the options differ.\n"


def test_repair_makes_what_check_offers(capsys: Capture) -> None:
    Path("blog.toml").write_text("BACKUPROOT = “root”;\nHOST = ”vc″\nUSERNAME = vcb\nTRANSPORT_MODE = NBDSSL\n")
    assert run("check", "blog.toml") == 2
    assert capsys.readouterr().out.count("(vcb config repair does it)") == 4
    assert run("repair", "blog.toml", "--yes") == 0
    assert Path("blog.toml").read_text() == (
        'BACKUPROOT = "root"\nHOST = "vc"\nUSERNAME = "vcb"\nTRANSPORT_MODE = "nbdssl"\n'
    )
    assert run("check", "blog.toml") == 0


BROKEN = (
    f'HOST="vc"§\nUSERNAME="u"§\nPASSWORD={MARKER}§\nPASWORD="{MARKER}"§\nPASSWORD="{MARKER}" + 1§\n'
    f'password = "{MARKER}§\nPASSWORD="{MARKER}"§\n'
)


@pytest.mark.parametrize("name", ["broken.js", "broken.toml"])
def test_no_command_shows_a_password(name: str, capsys: Capture) -> None:
    text = BROKEN.replace("§", ";" if name.endswith("js") else "")
    Path(name).write_text(text)
    Path(name).chmod(0o600)
    for words in (
        ["check", name], ["show", name, "--origin"], ["set", name, "PORT=1", "--yes", "--allow-invalid"],
        ["diff", name], ["diff", name, "minimal.toml"], ["convert", name, "out.toml", "--yes"],
        ["convert", name, "out.js", "--yes"],
        ["repair", name, "--yes"], ["history", name], ["undo", name, "--yes", "--allow-invalid"], ["check", "out.js"],
    ):  # fmt: skip
        for more in ([], ["--json"]):
            run(*words, *more)
            out, err = capsys.readouterr()
            assert MARKER not in out + err, words


def test_a_conflict_shows_both_sides(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Rival(Keyboard):
        def readline(self, size: int = -1, /) -> str:
            Path("minimal.toml").write_text('HOST = "theirs"\n')
            return "y\n"

    monkeypatch.setattr(sys, "stdin", Rival())
    assert run("set", "minimal.toml", "HOST=mine") == 2
    out, err = capsys.readouterr()
    assert "<<<<<<< mine" in out
    assert "changed by another program" in err.replace("was replaced by", "was changed by")
    assert Path("minimal.toml").read_text() == 'HOST = "theirs"\n'


class Editor(Keyboard):
    """Another program that changes PORT while the operator is asked, and an operator who says yes, then `second`."""

    def __init__(self, second: str) -> None:
        super().__init__()
        self.answers = ["y\n", second]

    def readline(self, size: int = -1, /) -> str:
        if len(self.answers) == 2:
            Path("two.toml").write_text('HOST = "vc"\nPORT = 8443\n')
        return self.answers.pop(0)


@pytest.mark.parametrize(("second", "host"), [("y\n", "mine"), ("n\n", "vc")])
def test_changes_of_other_lines_are_offered_as_a_merge(monkeypatch: pytest.MonkeyPatch, second: str, host: str) -> None:
    Path("two.toml").write_text('HOST = "vc"\nPORT = 443\n')
    monkeypatch.setattr(sys, "stdin", Editor(second))
    assert run("set", "two.toml", "HOST=mine") == (0 if host == "mine" else 130)
    assert Path("two.toml").read_text() == f'HOST = "{host}"\nPORT = 8443\n'


def test_undo_keeps_what_another_program_changed_since(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("two.toml").write_text('HOST = "vc"\nPORT = 443\n')
    assert run("set", "two.toml", "PORT=8443", "--yes") == 0
    Path("two.toml").write_text('HOST = "theirs"\nPORT = 8443\n')
    assert run("undo", "two.toml", "--yes") == 2
    answer(monkeypatch, "y", "y")
    assert run("undo", "two.toml") == 0
    assert Path("two.toml").read_text() == 'HOST = "theirs"\nPORT = 443\n'


def test_forget_removes_what_was_kept_and_nothing_else(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path("secret.toml")
    file.write_text(f'PASSWORD = "{MARKER}"\n')
    assert run("set", "secret.toml", "PORT=443", "--unset", "PASSWORD", "--yes") == 0
    assert "keeps the old PASSWORD" in capsys.readouterr().out
    answer(monkeypatch, "n")
    assert run("forget", "secret.toml") == 130
    answer(monkeypatch, "y")
    assert run("forget", "secret.toml") == 0
    assert run("undo", "secret.toml", "--yes") == 2
    assert file.read_text() == "PORT = 443\n"
    assert not list(Path("state").rglob("*.json"))
