"""vcb points, verify and retain: what they print, their exit codes, and that no vCenter is asked."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.points import proof as proofs
from engine.points.proof import Depth
from tests.points.made import flip, home, point, small_point
from tui.cli import points_commands
from tui.cli.app import main


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    monkeypatch.delenv("VCB_CONFIG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "root").mkdir()
    monkeypatch.setenv("VCB_BACKUPROOT", str(tmp_path / "root"))
    return tmp_path / "root"


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_points_in_a_table_and_in_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = small_point(root, 0)
    child = small_point(root, 1, parent=full)
    small_point(root, 0, "vm-2", name="db\x1b[31m")
    proofs.record(full, Depth.CHAIN, [])
    assert main(["points"]) == 0
    out = capsys.readouterr().out
    assert "web01  vm-1" in out
    assert "db\\x1b[31m" in out
    titles = ["time", "kind", "stored", "chain", "by", "quiesced", "proven"]
    assert any(line.split() == titles for line in out.splitlines())
    assert ["incr.", "27", "B", "2", "nbdssl", "yes"] in [line.split()[2:8] for line in out.splitlines()]
    assert "3 points" in out
    assert max(map(len, out.splitlines())) <= 80

    assert main(["points", "web01", "--json"]) == 0
    rows = answer(capsys)["points"]
    assert [row["path"] for row in rows] == [str(full), str(child)]
    assert rows[0]["proven_depth"] == "chain"
    assert rows[0]["needed_by"] == [child.name]
    assert (rows[1]["kind"], rows[1]["chain"]) == ("incremental", [child.name, full.name])
    assert rows[1]["bytes_stored_chain"] == rows[0]["bytes_stored"] + rows[1]["bytes_stored"]
    assert rows[1]["proven"] == rows[1]["created"]


@pytest.mark.parametrize("word", ["web01", "web*", "name:web01", "moref:vm-1", "uuid:421A", "uuid:501a", "web01-vm-1"])
def test_a_vm_by_any_of_its_names(root: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    small_point(root, 0)
    small_point(root, 0, "vm-2", name="db")
    assert main(["points", word, "--json"]) == 0
    found = {row["vm"] for row in answer(capsys)["points"]}
    assert found == ({"web01", "db"} if word.startswith("uuid") else {"web01"})


def test_words_that_name_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_point(root, 0)
    for command in ("points", "verify", "retain"):
        assert main([command, "web09"]) == 1
        assert "is of web09" in capsys.readouterr().err
        assert main([command, "ipaddr:10.0.0.1"]) == 2
        assert "no addresses" in capsys.readouterr().err


def test_no_backuproot(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root.rmdir()
    for command in (["points"], ["verify", "web01"], ["retain"]):
        assert main(command) == 1
        assert "BACKUPROOT" in capsys.readouterr().err


def test_troubles_and_notices_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone, bad = small_point(root, 0), small_point(root, 1)
    (home(root) / "x").mkdir()
    proofs.record(bad, Depth.FILES, ["vm.vmx is missing."])
    assert main(["points"]) == 0
    out = capsys.readouterr().out
    assert "NOT PROVEN" in out
    assert "vm.vmx is missing." in out
    assert "is no restore point" in out
    gone.rename(root / "elsewhere")
    assert main(["points"]) == 0
    assert "is gone, and vcb did not remove it" in capsys.readouterr().out.replace("\n", " ")


def test_verify_of_a_whole_and_of_a_damaged_point(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = point(root, 0)
    child = point(root, 1, parent=full)
    for depth in ("manifest", "files", "grains", "chain"):
        assert main(["verify", "web01", "--depth", depth]) == 0
        assert "2 looked at, nothing wrong" in capsys.readouterr().out
    flip(full / "scsi0-0.vmdk", 70_000)
    (full / "vm.vmx").unlink()
    assert main(["verify", str(child), "--depth", "chain", "--json"]) == 1
    shown = answer(capsys)
    assert (shown["result"], shown["exit_code"]) == ("failure", 1)
    (row,) = shown["points"]
    assert not row["sound"]
    assert sorted(finding["file"] for finding in row["findings"]) == ["scsi0-0.vmdk", "vm.vmx"]
    assert {finding["point"] for finding in row["findings"]} == {str(full)}
    assert main(["verify", f"{full.parent.name}/{full.name}"]) == 1
    out = capsys.readouterr().out
    assert "DAMAGED" in out
    assert "vm.vmx is missing." in out
    assert main(["points", "--json"]) == 0
    assert [row["proven"] for row in answer(capsys)["points"]] == [None, None]


def test_verify_of_a_point_whose_manifest_is_broken(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = small_point(root, 0)
    flip(damaged / "manifest.toml", 5, 7)
    assert main(["verify", str(damaged)]) == 1
    assert "manifest.toml" in capsys.readouterr().out


def test_verify_of_a_copy_outside_backuproot(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = small_point(root, 0).rename(tmp_path / "copy")
    assert main(["verify", str(copy), "--depth", "files"]) == 0
    assert "nothing wrong" in capsys.readouterr().out


def test_retain_without_rules_keeps_everything(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_point(root, 0)
    assert main(["retain", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "no KEEP_ option is set" in out
    assert "Nothing is to go." in out


def test_retain_shows_asks_and_removes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = [small_point(root, day) for day in range(4)]
    rules = ["--keep-last", "2"]
    assert main(["retain", "--dry-run", *rules]) == 0
    out = capsys.readouterr().out
    assert out.count("REMOVE") == 2
    assert "no rule keeps it: KEEP_LAST 2" in out
    assert "2 points" in out
    assert main(["retain", *rules]) == 2
    assert "--yes" in capsys.readouterr().err
    assert all(directory.is_dir() for directory in points)
    assert main(["retain", "--yes", "--json", *rules]) == 0
    shown = answer(capsys)
    assert shown["removed"] == [str(points[1]), str(points[0])]
    assert shown["bytes_freed"] > 0
    assert [row["keep"] for row in shown["vms"][0]["points"]] == [True, True, False, False]
    assert [directory.is_dir() for directory in points] == [False, False, True, True]


def test_retain_tells_what_it_could_not_remove(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stuck = small_point(root, 0)
    small_point(root, 1)
    (stuck / "diary.txt").write_text("x")
    assert main(["retain", "--yes", "--json", "--keep-last", "1"]) == 1
    out, err = capsys.readouterr()
    assert "diary.txt" in err
    assert json.loads(out.splitlines()[-1])["error"]["code"] == "policy"


@pytest.mark.parametrize(("typed", "code"), [("yes\n", 0), ("no\n", 1), ("\n", 1)])
def test_retain_asks_on_a_terminal(root: Path, typed: str, code: int) -> None:
    points = [small_point(root, day) for day in range(2)]
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tui.cli.app", "retain", "--keep-last", "1"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=Path(__file__).parents[2]) as process:
        os.close(slave)
        said = b""
        answered = False
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                break
            if not data:
                break
            said += data
            if not answered and b"Type yes to go on" in said:
                answered = True
                os.write(master, typed.encode())
        assert process.wait(60) == code, said.decode()
    os.close(master)
    assert b"This destroys 1 point" in said
    assert b"web01 (1)" in said
    assert points[0].exists() is (code != 0)


def test_none_of_them_loads_pyvmomi(root: Path) -> None:
    small_point(root, 0)
    program = (
        "import sys; from tui.cli.app import main; main(['points']); main(['verify', 'web01']);"
        "main(['retain', '--dry-run']); print([m for m in ('pyVmomi', 'engine.lab') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert points_commands.Depth is Depth
