"""Undo and redo over sessions (each call here is one: nothing is kept in memory), and what the history costs."""

import base64
import json
import stat
from itertools import pairwise
from pathlib import Path

import pytest

from engine.config.history import History, Version
from engine.config.merging import three_way
from engine.config.saving import read, redo, save, undo
from engine.errors import ConfigError, ConflictError
from engine.state_directory import StateDirectory


def text(port: int) -> bytes:
    return b'HOST="vc";\nPORT=%d;\n' % port


class Session:
    def __init__(self, directory: Path) -> None:
        self.file = directory / "config.js"
        self.state = StateDirectory(directory / "state")
        self.file.write_bytes(text(1))

    def save(self, port: int) -> None:
        save(self.file, text(port), base=read(self.file)[1], what=f"set PORT {port}", state=self.state)

    def undo(self) -> bytes:
        undo(self.file, state=self.state)
        return self.file.read_bytes()

    def redo(self) -> bytes:
        redo(self.file, state=self.state)
        return self.file.read_bytes()

    @property
    def history(self) -> History:
        return History(self.file, self.state)

    def versions(self) -> list[tuple[int, int, bytes]]:
        return [(version.number, version.parent, version.data) for version in self.history.versions()]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_undo_goes_back_to_the_beginning_and_redo_to_the_end(session: Session) -> None:
    for port in (2, 3):
        session.save(port)
    assert [session.undo(), session.undo()] == [text(2), text(1)]
    with pytest.raises(ConfigError, match="nothing to undo"):
        session.undo()
    assert [session.redo(), session.redo()] == [text(2), text(3)]
    with pytest.raises(ConfigError, match="nothing to redo"):
        session.redo()
    assert session.versions() == [(1, 0, text(1)), (2, 1, text(2)), (3, 2, text(3))]


def test_a_file_without_history_has_nothing_to_undo(session: Session) -> None:
    with pytest.raises(ConfigError, match="nothing to undo"):
        session.undo()


def test_a_save_after_an_undo_forgets_nothing(session: Session) -> None:
    session.save(2)
    session.undo()
    session.save(3)
    assert session.versions() == [(1, 0, text(1)), (2, 1, text(2)), (3, 1, text(3))]
    assert session.undo() == text(1)
    assert session.redo() == text(3)


def test_going_back_to_an_equal_content_is_a_step_of_its_own(session: Session) -> None:
    for port in (2, 1, 3):
        session.save(port)
    assert [session.undo(), session.undo(), session.undo()] == [text(1), text(2), text(1)]


def test_the_content_another_program_wrote_is_kept_by_the_next_save(session: Session) -> None:
    session.save(2)
    session.file.write_bytes(text(77))
    session.save(3)
    assert [version.what for version in session.history.versions()] == [
        "as it was found",
        "set PORT 2",
        "changed by another program",
        "set PORT 3",
    ]
    assert [session.undo(), session.undo()] == [text(77), text(2)]


def test_undo_over_anothers_change_is_offered_as_a_merge(session: Session) -> None:
    session.save(2)
    session.file.write_bytes(theirs := text(2).replace(b"vc", b"vc2"))
    with pytest.raises(ConflictError) as caught:
        session.undo()
    error = caught.value
    assert (error.base, error.mine, error.disk) == (text(2), text(1), theirs)
    assert session.file.read_bytes() == theirs
    merged = three_way(error.base, error.mine, theirs).merged
    assert merged is not None
    assert merged == text(1).replace(b"vc", b"vc2")
    save(session.file, merged, base=read(session.file)[1], state=session.state)
    assert session.undo() == theirs


def test_a_deleted_file_comes_back_only_by_a_save(session: Session) -> None:
    session.save(2)
    session.file.unlink()
    with pytest.raises(ConflictError, match="was deleted"):
        session.undo()
    session.save(3)
    assert session.undo() == text(2)


def test_undo_of_an_invalid_state_needs_the_second_word(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.file.write_bytes(b"PORT=http;\n")
    session.save(2)
    with pytest.raises(ConfigError, match="PORT"):
        session.undo()
    undo(session.file, allow_invalid=True, state=session.state)
    assert session.file.read_bytes() == b"PORT=http;\n"


def test_it_is_for_the_owner_only(session: Session) -> None:
    session.save(2)
    file = session.history.file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(session.state.root.stat().st_mode) == 0o700


def test_it_belongs_to_the_file_behind_the_link(session: Session, tmp_path: Path) -> None:
    link = tmp_path / "link.js"
    link.symlink_to(session.file)
    session.save(2)
    undo(link, state=session.state)
    assert session.file.read_bytes() == text(1)


def test_the_number_of_versions_is_bounded(session: Session) -> None:
    history = History(session.file, session.state, most=5)
    for port in range(2, 20):
        history.settle(history.prepare(text(port - 1), text(port), "set PORT"))
    assert [version.number for version in history.versions()] == [15, 16, 17, 18, 19]
    oldest = history.versions()[0]
    assert history.undo_target(oldest) is None
    assert history.last_saved() == history.versions()[-1]


def test_the_bytes_are_bounded(session: Session) -> None:
    contents = [bytes([letter]) * 300 for letter in b"abcdefgh"]
    history = History(session.file, session.state, most_bytes=1000)
    for before, after in pairwise(contents):
        history.settle(history.prepare(before, after, "edit"))
    assert [version.data for version in history.versions()] == contents[-3:]
    with pytest.raises(ConfigError, match="too large"):
        history.prepare(contents[-1], b"x" * 501, "edit")


def test_the_current_version_outlives_the_bounds(session: Session) -> None:
    for port in (2, 3):
        session.save(port)
    session.undo()
    session.undo()
    history = History(session.file, session.state, most=2)
    history.settle(history.prepare(text(1), text(9), "set PORT"))
    assert [version.data for version in history.versions()] == [text(1), text(9)]


def test_an_announced_save_that_never_came_is_forgotten(session: Session) -> None:
    session.save(2)
    session.history.prepare(text(2), text(66), "died before the rename")
    session.save(3)
    assert [data for _, _, data in session.versions()] == [text(1), text(2), text(3)]


def test_a_save_that_died_before_its_record_is_known_by_its_content(session: Session) -> None:
    session.save(2)
    session.history.prepare(text(2), text(3), "died after the rename")
    session.file.write_bytes(text(3))
    assert session.undo() == text(2)
    assert session.redo() == text(3)


def test_an_operator_can_read_it_without_us(session: Session) -> None:
    session.save(2)
    record = json.loads(session.history.file.read_bytes())
    assert base64.b64decode(record["versions"][-1]["data"]) == text(2)
    assert record["path"] == str(session.file)


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"format": 99, "path": "x"}'], ids=["torn", "other", "newer"])
def test_a_damaged_history_is_told_and_not_overwritten(session: Session, damage: bytes) -> None:
    session.save(2)
    session.history.file.write_bytes(damage)
    saved = save(session.file, text(3), base=read(session.file)[1], state=session.state)
    assert (saved.written, saved.version, session.file.read_bytes()) == (True, None, text(3))
    assert "cannot be undone later" in saved.notes[0]
    assert session.history.file.read_bytes() == damage
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        session.undo()
    assert "Move this file away" in caught.value.hint


def test_forgetting_removes_the_contents(session: Session) -> None:
    session.save(2)
    assert session.history.forget()
    assert not session.history.file.exists()
    assert not session.history.forget()
    assert session.history.versions() == ()


def test_where_the_content_is_ambiguous_the_current_version_counts(session: Session) -> None:
    for port in (2, 1):
        session.save(port)
    here = session.history.current(text(1))
    assert isinstance(here, Version)
    assert here.number == 3
