"""Paging of changed areas, and every way in which an answer can fail to cover the disk."""

from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import VsphereError
from engine.extents import Extent
from engine.reporter import silent
from engine.vsphere.changed_areas import changed_areas

CAPACITY = 1000
Page = tuple[int, int, list[tuple[int, int]]]


class Server:
    """Answers QueryChangedDiskAreas from a list of pages (start, length, areas)."""

    report = silent()

    def __init__(self, pages: list[Page]) -> None:
        self.pages, self.asked = list(pages), []

    def managed(self, ref: Any) -> Any:
        return self

    def read(self, fn: Any, **_: str) -> Any:
        return fn()

    def QueryChangedDiskAreas(self, snapshot: Any, key: int, start: int, change_id: str) -> Any:
        self.asked.append(start)
        first, length, areas = self.pages.pop(0)
        changed = [SimpleNamespace(start=area, length=size) for area, size in areas]
        return SimpleNamespace(startOffset=first, length=length, changedArea=changed)


def ask(server: Any) -> list[Extent]:
    return changed_areas(server, "vm-1", "snapshot-1", 2000, CAPACITY, "52 aa/1")


def test_every_page_is_asked_for() -> None:
    server = Server([(0, 400, [(0, 10), (390, 10)]), (400, 500, [(400, 5)]), (900, 100, [(950, 50)])])
    assert ask(server) == [Extent(0, 10), Extent(390, 15), Extent(950, 50)]
    assert server.asked == [0, 400, 900]


def test_nothing_changed() -> None:
    assert ask(Server([(0, CAPACITY, [])])) == []


@pytest.mark.parametrize(
    "page",
    [
        (8, 992, []),
        (0, 0, []),
        (0, -1, []),
        (0, CAPACITY + 1, []),
        (0, CAPACITY, [(990, 20)]),
        (0, 500, [(600, 10)]),
        (0, CAPACITY, [(10, -5)]),
    ],
    ids=["starts elsewhere", "no progress", "backwards", "past the disk", "area past", "area outside", "negative"],
)
def test_an_answer_that_does_not_cover_is_refused(page: Page) -> None:
    with pytest.raises(VsphereError, match="not reliable") as caught:
        ask(Server([page]))
    assert caught.value.fault == "CoverageGap"
    assert "full" in caught.value.hint


def test_an_area_before_its_page_is_refused() -> None:
    with pytest.raises(VsphereError):
        ask(Server([(0, 500, []), (500, 500, [(400, 10)])]))
