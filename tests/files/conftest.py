"""A BACKUPROOT, a tree of files, and no configuration of this machine."""

from pathlib import Path

import pytest

from tests.files import made


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(root))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return made.tree(tmp_path / "source")
