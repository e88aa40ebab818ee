"""A save changes the file's content and nothing else, tells what it cannot do, and never overwrites another's work."""

import fcntl
import os
import stat
import struct
from pathlib import Path

import pytest

from engine.config.history import History
from engine.config.saving import MOST_BYTES, read, save
from engine.config.whole_file import ACCESS_LIST, new_content
from engine.errors import BusyError, ConfigError, ConflictError, TargetError
from engine.state_directory import StateDirectory

OLD = b'HOST="vc.example.org";\r\nPORT=443;\r\n'
NEW = OLD.replace(b"443", b"8443")


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir()
    path = directory / "config.js"
    path.write_bytes(OLD)
    return path


def test_a_save_replaces_the_content_and_leaves_nothing_beside(file: Path, state: StateDirectory) -> None:
    data, base = read(file)
    saved = save(file, NEW, base=base, state=state)
    assert (data, file.read_bytes()) == (OLD, NEW)
    assert saved.written
    assert saved.notes == ()
    assert saved.base == read(file)[1]
    assert list(file.parent.iterdir()) == [file]


def test_nothing_is_written_when_nothing_changed(file: Path, state: StateDirectory) -> None:
    data, base = read(file)
    before = file.stat()
    assert not save(file, data, base=base, state=state).written
    assert file.stat() == before
    assert not state.root.exists()


def test_a_read_only_file_is_no_trouble_when_nothing_changed(file: Path, state: StateDirectory) -> None:
    file.chmod(0o444)
    data, base = read(file)
    assert not save(file, data, base=base, state=state).written


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_the_mode_stays(file: Path, state: StateDirectory, mode: int) -> None:
    file.chmod(mode)
    save(file, NEW, base=read(file)[1], state=state)
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_new_file_is_private(file: Path, state: StateDirectory) -> None:
    new = file.with_name("vcb.toml")
    data, base = read(new)
    assert (data, base.exists) == (b"", False)
    save(new, b'HOST = "vc"\n', base=base, state=state)
    assert new.read_bytes() == b'HOST = "vc"\n'
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert sorted(file.parent.iterdir()) == [file, new]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group_stay(file: Path, state: StateDirectory) -> None:
    os.chown(file, 1234, 2345)
    file.chmod(0o640)
    save(file, NEW, base=read(file)[1], state=state)
    status = file.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, 0o640)


def access_list(user: int) -> bytes:
    """A POSIX access list in the kernel's form (linux/posix_acl_xattr.h): version 2, then tag, permissions, id."""
    entries = [(1, 6, -1), (2, 4, user), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def set_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"no {name} on this file system: {error}")


def test_access_list_and_attributes_stay(file: Path, state: StateDirectory) -> None:
    set_attribute(file, ACCESS_LIST, access_list(4321))
    set_attribute(file, "user.comment", b"made in 2008")
    mode = file.stat().st_mode
    assert save(file, NEW, base=read(file)[1], state=state).notes == ()
    assert os.getxattr(file, ACCESS_LIST) == access_list(4321)
    assert os.getxattr(file, "user.comment") == b"made in 2008"
    assert file.stat().st_mode == mode


def test_a_default_access_list_of_the_directory_adds_no_reader(file: Path, state: StateDirectory) -> None:
    set_attribute(file.parent, "system.posix_acl_default", access_list(4321))
    file.chmod(0o640)
    save(file, NEW, base=read(file)[1], state=state)
    assert ACCESS_LIST not in os.listxattr(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_symlinks_stay_and_their_target_is_saved(file: Path, state: StateDirectory, tmp_path: Path) -> None:
    first, second = tmp_path / "first.js", tmp_path / "second.js"
    second.symlink_to(file)
    first.symlink_to("second.js")
    save(first, NEW, base=read(first)[1], state=state)
    assert first.is_symlink()
    assert second.is_symlink()
    assert not file.is_symlink()
    assert file.read_bytes() == NEW
    assert History(file, state).versions()


def test_a_link_to_nothing_creates_its_target(file: Path, state: StateDirectory, tmp_path: Path) -> None:
    link = tmp_path / "link.js"
    link.symlink_to(file.with_name("new.js"))
    save(link, NEW, base=read(link)[1], state=state)
    assert file.with_name("new.js").read_bytes() == NEW
    assert link.is_symlink()


def test_a_link_that_points_elsewhere_now_is_told(file: Path, state: StateDirectory, tmp_path: Path) -> None:
    other = file.with_name("other.js")
    other.write_bytes(OLD)
    link = tmp_path / "link.js"
    link.symlink_to(file)
    base = read(link)[1]
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(ConfigError, match="the link was changed"):
        save(link, NEW, base=base, state=state)
    assert file.read_bytes() == other.read_bytes() == OLD


def test_hard_links_are_told_before_and_after(file: Path, state: StateDirectory) -> None:
    twin = file.with_name("twin.js")
    os.link(file, twin)
    base = read(file)[1]
    saved = save(file, NEW, base=base, state=state)
    assert "another name (hard links)" in base.cautions[0]
    assert saved.notes == base.cautions
    assert twin.read_bytes() == OLD


def test_a_read_only_file_is_refused_even_to_root(file: Path, state: StateDirectory) -> None:
    file.chmod(0o444)
    with pytest.raises(TargetError) as caught:
        save(file, NEW, base=read(file)[1], state=state)
    assert "config.js" in caught.value.sentence
    assert "chmod u+w" in caught.value.hint or "writable" in caught.value.hint
    assert file.read_bytes() == OLD


def test_a_missing_directory_is_named(tmp_path: Path, state: StateDirectory) -> None:
    path = tmp_path / "nowhere" / "config.js"
    with pytest.raises(TargetError, match="No such file") as caught:
        save(path, NEW, base=read(path)[1], state=state)
    assert str(path.parent) in caught.value.hint


@pytest.mark.parametrize("made", [lambda path: path.mkdir(), os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_refused(tmp_path: Path, made) -> None:
    path = tmp_path / "config.js"
    made(path)
    with pytest.raises(ConfigError, match="not a file"):
        read(path)


def test_a_huge_file_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.js"
    path.touch()
    os.truncate(path, MOST_BYTES + 1)
    with pytest.raises(ConfigError, match="no configuration"):
        read(path)


def test_links_in_a_circle_are_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / "config.js"
    path.symlink_to(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(path)


def in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def replaced(path: Path, data: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(data)
    other.rename(path)


@pytest.mark.parametrize(("how", "word"), [(in_place, "was changed"), (replaced, "was replaced")])
def test_anothers_change_is_not_overwritten(file: Path, state: StateDirectory, how, word: str) -> None:
    base = read(file)[1]
    how(file, theirs := OLD + b"LOGLEVEL=6;\r\n")
    with pytest.raises(ConflictError, match=word) as caught:
        save(file, NEW, base=base, state=state)
    assert (caught.value.base, caught.value.mine, caught.value.disk) == (OLD, NEW, theirs)
    assert file.read_bytes() == theirs
    assert not state.root.exists()


def test_a_deleted_file_is_a_conflict(file: Path, state: StateDirectory) -> None:
    base = read(file)[1]
    file.unlink()
    with pytest.raises(ConflictError, match="was deleted") as caught:
        save(file, NEW, base=base, state=state)
    assert caught.value.disk is None
    assert not file.exists()


def test_a_file_that_came_meanwhile_is_a_conflict(file: Path, state: StateDirectory) -> None:
    new = file.with_name("new.js")
    base = read(new)[1]
    new.write_bytes(OLD)
    with pytest.raises(ConflictError, match="was created"):
        save(new, NEW, base=base, state=state)
    assert new.read_bytes() == OLD


def test_the_same_content_in_another_file_is_no_conflict(file: Path, state: StateDirectory) -> None:
    base = read(file)[1]
    replaced(file, OLD)
    file.chmod(0o640)
    assert save(file, NEW, base=base, state=state).written
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_who_changed_nothing_overwrites_nothing(file: Path, state: StateDirectory) -> None:
    data, base = read(file)
    in_place(file, NEW)
    saved = save(file, data, base=base, state=state)
    assert not saved.written
    assert "no change of yours" in saved.notes[0]
    assert saved.base.data == NEW


def test_a_conflict_is_resolved_by_reading_again(file: Path, state: StateDirectory) -> None:
    in_place(file, theirs := OLD + b"LOGLEVEL=6;\r\n")
    assert save(file, NEW, base=read(file)[1], state=state).written
    assert theirs in [version.data for version in History(file, state).versions()]


def test_an_invalid_file_needs_a_second_word(file: Path, state: StateDirectory) -> None:
    base = read(file)[1]
    broken = OLD.replace(b"443", b'"http"')
    with pytest.raises(ConfigError) as caught:
        save(file, broken, base=base, state=state)
    assert (caught.value.line, file.read_bytes()) == (2, OLD)
    assert save(file, broken, base=base, allow_invalid=True, state=state).written


def test_a_contradiction_is_invalid_but_incompleteness_is_not(file: Path, state: StateDirectory) -> None:
    contradiction = OLD + b'SNAPSHOT_POLICY="manual";\r\nPREEXISTING_MOUNTPOINT="delete";\r\n'
    with pytest.raises(ConfigError, match="manual"):
        save(file, contradiction, base=read(file)[1], state=state)
    assert save(file, b"PORT=443;\r\n", base=read(file)[1], state=state).written


def test_a_lock_that_is_held_is_told(file: Path, state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.config.file_lock.PATIENCE", 0.0)
    base = read(file)[1]
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="just now"):
            save(file, NEW, base=base, state=state)
    assert file.read_bytes() == OLD
    assert save(file, NEW, base=base, state=state).written


def test_what_killed_saves_left_is_swept(file: Path, state: StateDirectory) -> None:
    with new_content(file, NEW) as new:
        dead = new.temporary.with_name(new.temporary.name[:-12] + "0" * 12)
        dead.write_bytes(b"torn")
        save(file, NEW, base=read(file)[1], state=state)
        assert not dead.exists()
        assert new.temporary.exists()


def test_a_state_directory_that_refuses_is_told_and_the_save_is_made(file: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    saved = save(file, NEW, base=read(file)[1], state=StateDirectory(tmp_path / "state"))
    assert saved.written
    assert saved.version is None
    assert "cannot be undone" in saved.notes[0]
    assert file.read_bytes() == NEW


def test_secrets_are_in_no_repr(file: Path, state: StateDirectory) -> None:
    in_place(file, b'PASSWORD="marker-1f9";\n')
    base = read(file)[1]
    saved = save(file, b'PASSWORD="marker-1f9";\nPORT=443;\n', base=base, state=state)
    assert "marker" not in repr((base, saved, History(file, state).versions()))


def test_a_password_that_goes_is_told_to_be_in_the_history(file: Path, state: StateDirectory) -> None:
    in_place(file, b'PASSWORD="marker-1f9";\nPORT=443;\n')
    saved = save(file, b"PORT=443;\n", base=read(file)[1], state=state)
    assert "keeps the old PASSWORD" in saved.notes[0]
    assert "vcb config forget" in saved.notes[0]
    assert save(file, b"PORT=444;\n", base=read(file)[1], state=state).notes == ()


@pytest.mark.parametrize("after", [b'PASSWORD="other";\n', b'PASSWORD="broken\n'], ids=["changed", "unreadable"])
def test_a_password_that_changes_is_told_too(file: Path, state: StateDirectory, after: bytes) -> None:
    in_place(file, b'PASSWORD="marker-1f9";\n')
    saved = save(file, after, base=read(file)[1], allow_invalid=True, state=state)
    assert "keeps the old PASSWORD" in saved.notes[0]
