"""vcb restore on the command line: what it says, asks and answers."""

import json
from pathlib import Path

import pytest

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
