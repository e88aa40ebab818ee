"""The benchmark runner's own promises: names, verdicts, exit code 0, something to read when a figure has no value."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.benchmarks import run
from tests.benchmarks.measure import Benchmark, Target


def fake(values: Mapping[str, float] | None) -> Benchmark:
    def measure(work: Path, quick: bool) -> Mapping[str, float]:
        if values is None:
            raise FileNotFoundError("no such program")
        return values

    return Benchmark("speed", {"speed-wall": Target(0.5, "a / b"), "speed-cpu": Target(2, "a / b")}, measure)


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        ([], ["speed-wall 0.510 0.5 SHORT", "speed-cpu 2.000 2 ok"]),
        (["speed-cpu"], ["speed-cpu 2.000 2 ok"]),
        (["speed"], ["speed-wall 0.510 0.5 SHORT", "speed-cpu 2.000 2 ok"]),
    ],
)
def test_one_line_a_figure(
    names: list[str], lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "benchmarks", lambda: [fake({"speed-wall": 0.51, "speed-cpu": 2.0})])
    monkeypatch.setattr(sys, "argv", ["run.py", *names])
    assert run.main() == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_what_cannot_be_measured_falls_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "benchmarks", lambda: [fake(None)])
    monkeypatch.setattr(sys, "argv", ["run.py", "speed-cpu"])
    assert run.main() == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == ["speed-cpu nan 2 SHORT"]
    assert "no such program" in output.err


def test_list_from_any_directory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, run.__file__, "--list"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "compact-wall" in done.stdout
