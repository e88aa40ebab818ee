"""BACKUPROOT fills up at random moments, one backup after another: what is listed is whole, and the next one works."""

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.cancel import CancelToken
from engine.events import ResultState
from engine.flow.point_check import PointChecks
from engine.points import catalog
from engine.points.proof import Depth
from engine.reporter import silent
from tests.faults import scene as scenes
from tests.faults.os_seam import ERRORS, GROWING, Seam
from tests.faults.recording import TRANSPORTS
from tests.faults.scene import Scene

PASSES = int(os.environ.get("VCB_FULL_DISK_PASSES", "6"))


class Filling:
    """No room from the `last`-th call on that needs some."""

    def __init__(self, scene: Scene, last: int) -> None:
        self.calls, self._last = 0, last
        self.seam = Seam({"root": scene.root}, self._called)

    def _called(self, where: str, name: str, number: int, target: Any) -> int | None:
        self.calls += name in GROWING
        return ERRORS["ENOSPC"] if name in GROWING and self.calls > self._last else None


def fill_again_and_again(template: Path, directory: Path, passes: int, seed: int) -> Counter[str]:
    """How the backups ended."""
    dice, ended = random.Random(seed), Counter[str]()
    with scenes.opened(template, directory, "nbd") as scene:
        for number in range(passes):
            scene.transport = TRANSPORTS[number % len(TRANSPORTS)]
            filling = Filling(scene, dice.randrange(90))
            with filling.seam:
                outcome = scene.backup(EXPORT_FORMAT=dice.choice(("compact", "sparse", "flat")))
            ended[outcome.state.value] += 1
            assert scene.left() == [] or outcome.leftovers, outcome.sentence
            assert_sound(scene)
            if number % 10 == 9:
                assert scene.backup(FULL_EVERY=1, **_CLEAR).state is ResultState.SUCCESS
                assert scene.left() == []
    return ended


_CLEAR = {"PREEXISTING_MOUNTPOINT": "delete", "PREEXISTING_VCB_SNAPSHOT": "delete"}


def assert_sound(scene: Scene) -> None:
    seen = catalog.look(scene.root, scene.state)
    assert seen.troubles == {}
    checks = PointChecks(Depth.CHAIN, CancelToken(), silent())
    assert [finding for point in seen.points for finding in checks.check(point.directory).findings] == []


@pytest.mark.timeout(600)
def test_no_torn_point_is_ever_listed(tmp_path: Path) -> None:
    scenes.build_template(tmp_path / "template")
    ended = fill_again_and_again(tmp_path / "template", tmp_path / "scene", PASSES, 1)
    assert ended["failure"] > PASSES // 3, ended
