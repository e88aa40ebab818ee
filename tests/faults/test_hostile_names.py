"""VM names as an attacker, or Unicode, would have them: no path leaves BACKUPROOT, nothing raw reaches a terminal."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.events import ResultState
from tests.faults import scene as scenes
from tests.faults.scene import Scene
from tui.cli.app import main

NAMES = {
    "slashes": "../../../etc/cron.d/x",
    "encoded slashes": "..%2f..%2fetc%2fpasswd",
    "dots": "..",
    "escape": "web\x1b]0;owned\x07\x1b[2J\x1b[31m01",
    "C1": "web\x9b31m\x85next",
    "bidi": "web\u202e10gpj.exe\u2066\u200f",
    "newlines": "web01\r\nJob 1: success",
    "Japanese": "\u672c\u756a\u30b5\u30fc\u30d0" * 16,
    "blank": "   ",
    "shell": "$(reboot);`id`'\"|&",
    "markup": "[bold red]web[/] [link=http://x]01[/link]",
    "surrogates": "\U0001f4a5" * 80,
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("names") / "template"
    scenes.build_template(directory)
    return directory


@pytest.fixture
def scene(template: Path, tmp_path: Path) -> Iterator[Scene]:
    with scenes.opened(template, tmp_path / "scene", "nbdssl") as scene:
        yield scene


def rename(scene: Scene, name: str, position: int = 0) -> None:
    vm = scene.machines()[position]
    vm.definition.name = name
    vm.updated("name")


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    main(list(words))
    said = capsys.readouterr()
    return said.out + said.err


def raw(text: str) -> list[str]:
    """Characters that steer a terminal or turn the order of what is read."""
    return [hex(ord(char)) for char in text if unicodedata.category(char) in ("Cc", "Cf") and char not in "\n\t"]


@pytest.mark.parametrize(
    "kind",
    [
        one if one in ("slashes", "escape", "bidi", "Japanese") else pytest.param(one, marks=pytest.mark.exhaustive)
        for one in NAMES
    ],
)
def test_nothing_leaves_backuproot_and_nothing_raw_is_shown(
    scene: Scene, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    xml = "".join(char for char in NAMES[kind] if char in "\t\n\r" or ord(char) >= 0x20)  # what XML can carry at all
    rename(scene, xml)
    outside = {path for path in scene.directory.rglob("*") if not path.is_relative_to(scene.root)}
    outcome = scene.proxy.backup("moref:vm-1")
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert outcome.point is not None
    assert outcome.point.resolve().parent.parent == scene.root / "points"
    made = {path for path in scene.directory.rglob("*") if not path.is_relative_to(scene.root)} - outside
    assert all(path.is_relative_to(scene.state) or path.is_relative_to(scene.directory / "lab") for path in made), made
    config = tmp_path / "vcb.toml"
    config.write_text(
        f'HOST = "{scene.lab.host}"\nPORT = {scene.lab.port}\nUSERNAME = "{scene.lab.user}"\n'
        f'PASSWORD_FILE = "{scene.proxy.password_file}"\nCA_FILE = "{scene.lab.ca_file}"\n'
        f'BACKUPROOT = "{scene.root}"\nTRANSPORT_MODE = "nbdssl"\nKEEP_FREE = "0"\n'
    )
    monkeypatch.setenv("VCB_CONFIG", str(config))
    for words in (["inventory"], ["plan", "moref:vm-1"], ["points"], ["verify", outcome.point.parent.name]):
        assert raw(shown(capsys, *words)) == [], words


def test_names_that_are_equal_once_made_plain_keep_their_directories_apart(scene: Scene) -> None:
    rename(scene, "mail/backup")
    rename(scene, "mail_backup", 1)
    for snapshot in list(scene.machines()[1].snapshots):
        scene.machines()[1].remove_snapshot(snapshot)
    first, second = (scene.proxy.backup(f"moref:{vm.id}") for vm in scene.machines()[:2])
    assert first.point is not None
    assert second.point is not None, second.sentence
    assert first.point.parent != second.point.parent
