"""What every test of the console needs: a state directory of its own."""

import pytest


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    directory = tmp_path / "state"
    monkeypatch.setenv("VCB_STATE_DIR", str(directory))
    return directory
