"""Approve once, refused when it changes, forgotten at a word; and a file that others may write proves nothing."""

import json
import stat
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.state_directory import StateDirectory
from engine.vsphere.approvals import FILE_NAME, Approvals
from tests.trust.conftest import MakeImpostor
from tests.vsphere.conftest import issue
from tui.cli.app import main

NAMES = ("127.0.0.1",)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    return StateDirectory.default()


def test_the_file_is_the_owners_alone(state: StateDirectory) -> None:
    approvals = Approvals(state)
    approvals.approve("vc.example:443", "AB:" * 31 + "AB")
    assert stat.S_IMODE((state.root / FILE_NAME).stat().st_mode) == 0o600
    assert approvals.pins() == {"vc.example:443": "ab" * 32}
    (state.root / FILE_NAME).chmod(0o622)
    with pytest.raises(ConfigError, match="others may write"):
        approvals.pins()


@pytest.mark.parametrize("text", ["nonsense", '["a:1"]\nsha256 = 5', "\xff"])
def test_a_damaged_file_trusts_nobody(state: StateDirectory, text: str) -> None:
    state.root.mkdir(mode=0o700)
    (state.root / FILE_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match="cannot be read"):
        Approvals(state).pins()


def test_a_symlink_is_not_followed(state: StateDirectory, tmp_path: Path) -> None:
    state.root.mkdir(mode=0o700)
    (tmp_path / "theirs").write_text("")
    (state.root / FILE_NAME).symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigError):
        Approvals(state).pins()


def test_the_command_approves_lists_and_forgets(
    state: StateDirectory, impostor: MakeImpostor, capsys: pytest.CaptureFixture[str]
) -> None:
    server = issue("vcenter", hosts=NAMES)
    where = f"127.0.0.1:{impostor(server).port}"
    assert main(["trust", "approve", where]) == 2  # nobody is there to compare
    assert "wants someone who compares" in capsys.readouterr().err
    assert main(["trust", "approve", where, "--sha256", "00" * 32]) == 1
    assert "another certificate" in capsys.readouterr().err
    assert Approvals(state).all() == {}
    assert main(["trust", "approve", where, "--sha256", server.sha256, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["address"] == where
    assert Approvals(state).pins() == {where: server.sha256}
    assert main(["trust", "list"]) == 0
    assert where in capsys.readouterr().out
    assert main(["trust", "forget", where]) == 0
    assert main(["trust", "forget", where]) == 2
    assert Approvals(state).all() == {}
