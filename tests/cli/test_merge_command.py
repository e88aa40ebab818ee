"""vcb merge, and merging by vcb retain: what they print, their exit codes, what is left."""

from pathlib import Path

import pytest

from engine.points import manifest as manifests
from tests.cli.test_points_commands import answer, root
from tests.flow.test_merge import chain, held
from tui.cli.app import main

__all__ = ["root"]


def test_merge_asks_tells_and_does(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full, first, second = chain(root, 3)
    before = held(second)
    name = f"{first.parent.name}/{first.name}"
    assert main(["merge", name]) == 2
    assert "nobody is here to confirm it" in capsys.readouterr().err
    assert main(["merge", name, "--dry-run", "--json"]) == 0
    assert answer(capsys)["absorbs"] == [str(full)]
    assert full.exists()
    assert main(["merge", str(first), "--yes", "--json"]) == 0
    done = answer(capsys)
    assert done["merged"][0]["absorbed"] == [str(full)]
    assert done["merged"][0]["bytes_after"] < done["merged"][0]["bytes_before"]
    assert not full.exists()
    assert held(second) == before
    assert main(["merge", str(second), "--whole"]) == 0
    assert manifests.read(second).disk[0].kind == "full"
    assert held(second) == before
    assert main(["merge", "nothing/there"]) == 2
    assert main(["verify", "web01", "--depth", "chain"]) == 0
    capsys.readouterr()
    assert main(["points", "--json"]) == 0
    assert [(row["kind"], row["flaw"]) for row in answer(capsys)["points"]] == [("full", "")] * 2


def test_retain_merges_what_only_newer_points_need(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = chain(root, 6)
    before = [held(each) for each in points[-3:]]
    monkeypatch.setenv("VCB_KEEP_LAST", "3")
    monkeypatch.setenv("VCB_CHAIN_LENGTH", "6")
    assert main(["retain", "--yes", "--json"]) == 0
    assert answer(capsys)["merged"] == []
    monkeypatch.setenv("VCB_CHAIN_LENGTH", "5")
    assert main(["retain", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.count("MERGE") == 3
    assert "3 points" in out
    assert main(["retain", "--yes", "--json"]) == 0
    assert answer(capsys)["merged"][0]["absorbed"] == [str(each) for each in reversed(points[:3])]
    assert [each.exists() for each in points] == [False] * 3 + [True] * 3
    assert [held(each) for each in points[-3:]] == before
    assert main(["verify", "web01", "--depth", "chain"]) == 0
    assert main(["retain", "--dry-run"]) == 0
    assert "Nothing is to go" in capsys.readouterr().out
