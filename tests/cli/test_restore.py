"""vcb restore on the command line: what it says, asks and answers."""

import io
import json
from pathlib import Path

import pytest
from pyVmomi import vim

from engine.lab import power
from tests.flow.conftest import lab, proxy  # noqa: F401 - fixtures
from tests.restore.checks import frozen, point_of, same
from tui.cli.app import main


def test_to_files(proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    point = point_of(proxy)
    place = f"{point.directory.parent.name}/{point.directory.name}"
    out = tmp_path / "out"
    words = ["restore", place, "--to", str(out), "--format", "raw", "--backuproot", str(proxy.root), "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert (answer["result"], answer["exit_code"]) == ("success", 0)
    assert [disk["target"] for disk in answer["disks"]] == [str(out / "scsi0-0.raw"), str(out / "scsi0-1.raw")]
    assert "scsi0-0.raw, scsi0-1.raw" in said.err
    for disk, original in zip(answer["disks"], frozen(proxy, point), strict=True):
        same(Path(disk["target"]), "raw", original)

    assert main(words) == 1
    assert "nothing is overwritten" in capsys.readouterr().err


def test_a_point_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restore", "nowhere", "--to", str(tmp_path), "--backuproot", str(tmp_path)]) == 2
    assert "There is no restore point nowhere" in capsys.readouterr().err


@pytest.fixture
def config(proxy, tmp_path: Path) -> str:  # noqa: F811
    file = tmp_path / "vcb.toml"
    lines = {"HOST": proxy.lab.host, "PORT": proxy.lab.port, "USERNAME": proxy.lab.user,
             "PASSWORD_FILE": str(proxy.password_file), "CA_FILE": str(proxy.lab.ca_file),
             "BACKUPROOT": str(proxy.root), "TRANSPORT_MODE": "nbdssl"}  # fmt: skip
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))
    return str(file)


def machines(lab) -> list[str]:  # noqa: F811
    return sorted(vm.name for vm in lab.vsphere.all_of(vim.VirtualMachine))


def test_a_vm_wants_a_word(lab, proxy, config: str, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    point, before = point_of(proxy), machines(lab)
    words = ["restore", str(point.directory), "--config", config, "--name", "web01-back"]
    assert main(words) == 2, "nobody is there to ask"
    assert "--yes" in capsys.readouterr().err
    assert main([*words, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert (plan["name"], plan["power"], plan["adapters"]) == ("web01-back", "off", "disconnected")
    assert machines(lab) == before
    assert main([*words, "--yes", "--json"]) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert answer["result"] == "success"
    assert answer["moref"].startswith("vm-")
    assert "web01-back" in machines(lab)
    assert "labstore" in said.err
    assert main([*words, "--yes"]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("\n", 130)])
def test_the_terminal_is_asked(  # noqa: PLR0917
    lab, proxy, config: str, monkeypatch, capsys: pytest.CaptureFixture[str], typed: str, code: int  # noqa: F811
) -> None:  # fmt: skip
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    point = point_of(proxy)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert main(["restore", str(point.directory), "--config", config, "--name", "asked"]) == code
    assert "Make asked on 127.0.0.1? [y/N]" in capsys.readouterr().out
    assert ("asked" in machines(lab)) == (code == 0)


@pytest.mark.parametrize("words", [["--to", "x", "--name", "y"], ["--format", "raw"], ["--network", "x", "--yes"]])
def test_flags_that_do_not_fit(proxy, config: str, words: list[str], capsys) -> None:  # noqa: F811
    point = point_of(proxy)
    assert main(["restore", str(point.directory), "--config", config, *words]) == 2


@pytest.mark.parametrize(("typed", "code"), [("y\n", 130), ("web01\n", 0)])
def test_in_place_wants_the_name(proxy, config: str, monkeypatch, capsys, typed: str, code: int) -> None:  # noqa: F811, PLR0917
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    proxy.lab.run_guest(False)
    point = point_of(proxy)
    words = ["restore", str(point.directory), "--config", config, "--in-place", "--disk", "scsi0:0"]
    assert main(words) == 1, "it runs"
    assert "not powered off" in capsys.readouterr().err
    vm = proxy.vm()
    power.enter(vm, "poweredOff")
    assert main([*words, "--dry-run"]) == 0
    assert vm.disks[point.manifest.disk[0].key].file() in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert main(words) == code
    assert ("Nothing was overwritten" in capsys.readouterr().out) == (code == 130)
