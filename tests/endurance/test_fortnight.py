"""A tiny fortnight; the whole is `python -m tests.endurance`."""

from pathlib import Path

from tests.endurance.fortnight import Fortnight


def test_three_nights_of_three_machines(tmp_path: Path) -> None:
    fortnight = Fortnight(nights=3, machines=3, seed=5, troubled=0.5)
    fortnight.run(tmp_path)
    assert fortnight.problems == []
    assert fortnight.counts["jobs"] == 9
    assert fortnight.counts["points kept"] > 3
    assert fortnight.counts["disks equal to that night's"] >= fortnight.counts["points kept"]
