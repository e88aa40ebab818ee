"""vcb san: what is known of datastores, and the operator's word that a cause is gone."""

import json

import pytest

from engine.flow.san_trust import SanTrust, SanTrusts
from engine.state_directory import StateDirectory
from tui.cli.app import main


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path))
    return SanTrusts(StateDirectory(tmp_path))


def test_nothing_is_known_at_first(capsys):
    assert main(["san"]) == 0
    assert "No datastore" in capsys.readouterr().out


def test_a_mismatch_stays_until_it_is_forgotten(state, capsys):
    state.verified(SanTrust("1-2", "good"))
    state.mismatched(SanTrust("3-4", "bad"), "[bad] vm/vm.vmdk differs at byte 65,536")
    assert main(["san"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "good (1-2): compared and equal" in told
    assert "bad (3-4): DISABLED" in told
    assert main(["san", "--trust", "bad", "--json"]) == 0
    known = json.loads(capsys.readouterr().out.splitlines()[-1])["datastores"]
    assert [(each["name"], each["mismatch"]) for each in known] == [("good", ""), ("bad", "")]
    assert main(["san", "--trust", "ugly"]) == 2


def test_a_file_that_can_not_be_understood_is_no_permission(state, tmp_path, capsys):
    state.verified(SanTrust("1-2", "good"))
    (tmp_path / "san" / "1-2.json").write_text("{")
    assert main(["san"]) == 2
    assert "can't be understood" in " ".join(capsys.readouterr().err.split())
