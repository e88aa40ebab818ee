"""Three versions side by side. Against GNU diff3, and by properties that any merge must have."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from engine.config.difference import three_way_view, unified
from engine.config.merging import lines_of, three_way
from tests.tools import require_tool

BASE = b'HOST="vc";\nPORT=443;\nUSERNAME="backup";\nLOGLEVEL=3;\n'
FILE = Path("config.js")

small_texts = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"d\n", b"\n"]), max_size=9).map(b"".join)


def kinds(base: bytes, mine: bytes, disk: bytes) -> list[str]:
    return [hunk.kind for hunk in three_way(base, mine, disk).hunks]


def test_changes_of_different_options_merge_even_in_neighbouring_lines() -> None:
    mine, disk = BASE.replace(b"443", b"8443"), BASE.replace(b'"vc"', b'"vc2"')
    view = three_way(BASE, mine, disk)
    assert [hunk.kind for hunk in view.hunks] == ["theirs", "mine", "unchanged"]
    assert view.merged == mine.replace(b'"vc"', b'"vc2"')


def test_changes_of_one_line_conflict() -> None:
    view = three_way(BASE, BASE.replace(b"443", b"1"), BASE.replace(b"443", b"2"))
    assert view.merged is None
    assert [(hunk.line, hunk.base, hunk.mine, hunk.disk) for hunk in view.conflicts] == [
        (2, (b"PORT=443;\n",), (b"PORT=1;\n",), (b"PORT=2;\n",))
    ]


def test_the_same_change_by_both_is_no_conflict() -> None:
    same = BASE.replace(b"443", b"8443")
    assert kinds(BASE, same, same) == ["unchanged", "same", "unchanged"]
    assert three_way(BASE, same, same).merged == same


def test_insertions_at_one_place_conflict_and_elsewhere_do_not() -> None:
    end, start = BASE + b"MAX_RETRIES=2;\n", b"// ours\n" + BASE
    assert three_way(BASE, end, start).merged == b"// ours\n" + end
    assert three_way(BASE, end, BASE + b"QUIESCE=off;\n").merged is None


def test_a_deleted_line_that_the_other_changed_conflicts() -> None:
    assert three_way(BASE, BASE.replace(b"PORT=443;\n", b""), BASE.replace(b"443", b"1")).merged is None


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "cp932", "utf-8"])
def test_every_encoding_is_cut_at_its_lines(encoding: str) -> None:
    text = "\ufeff" if encoding.startswith("utf-16") else ""
    text += '// バックアップの設定\r\nHOST="a";\r\n// ここまで\r\nPORT=1;\r\n'
    base, mine, disk = (
        version.encode(encoding) for version in (text, text.replace("=1", "=2"), text.replace('"a"', '"b"'))
    )
    assert len(lines_of(base)) == 4
    assert b"".join(lines_of(base)) == base
    assert three_way(base, mine, disk).merged == text.replace("=1", "=2").replace('"a"', '"b"').encode(encoding)


def test_versions_of_different_encodings_are_shown_but_not_merged() -> None:
    text = "// バックアップ\nPORT=1;\nHOST=2;\n"
    view = three_way(text.encode("cp932"), text.replace("1", "9").encode("cp932"), text.encode("utf-8"))
    assert (view.encoding, view.merged) == ("", None)
    ascii_base = three_way(b"PORT=1;\n", "// バックアップ\nPORT=1;\n".encode("cp932"), b"PORT=2;\n")
    assert ascii_base.encoding == "cp932"
    assert three_way(b"PORT=1;\n", b"PORT=2;\n", "PORT=3;\n".encode("utf-16")).encoding == ""


@given(small_texts, small_texts, small_texts)
@settings(max_examples=500, deadline=None)
def test_the_hunks_cover_all_three_versions(base: bytes, mine: bytes, disk: bytes) -> None:
    hunks = three_way(base, mine, disk).hunks
    for side, whole in (("base", base), ("mine", mine), ("disk", disk)):
        assert b"".join(line for hunk in hunks for line in getattr(hunk, side)) == whole
    for hunk in hunks:
        assert (hunk.base == hunk.mine == hunk.disk) == (hunk.kind == "unchanged")
        assert (hunk.base == hunk.disk) == (hunk.kind in ("mine", "unchanged"))
        assert (hunk.base == hunk.mine) == (hunk.kind in ("theirs", "unchanged"))


@given(small_texts, small_texts, small_texts)
@settings(max_examples=300, deadline=None)
def test_who_changed_nothing_takes_the_others_change(base: bytes, mine: bytes, disk: bytes) -> None:
    assert three_way(base, mine, base).merged == mine
    assert three_way(base, base, disk).merged == disk
    assert three_way(base, mine, mine).merged == mine
    one, other = three_way(base, mine, disk), three_way(base, disk, mine)
    assert one.merged == other.merged


def diff3(program: str, directory: Path, mine: bytes, base: bytes, disk: bytes) -> bytes | None:
    for name, data in (("mine", mine), ("base", base), ("disk", disk)):
        (directory / name).write_bytes(data)
    ended = subprocess.run([program, "-m", "mine", "base", "disk"], cwd=directory, capture_output=True, check=False)
    assert ended.returncode in (0, 1)
    return ended.stdout if ended.returncode == 0 else None


def test_where_diff3_merges_so_do_we(tmp_path: Path) -> None:
    """An edit of one option by each, in all pairs of lines. diff3 asks for a line between them, and calls the same edit
    by both a conflict; we do neither."""
    program = require_tool("diff3")
    options = [b"OPTION_%d=0;\n" % number for number in range(6)]
    base = b"".join(options)
    for first in range(6):
        for second in range(6):
            mine, disk = (base.replace(b"_%d=0" % number, b"_%d=1" % number) for number in (first, second))
            theirs = diff3(program, tmp_path, mine, base, disk)
            ours = three_way(base, mine, disk).merged
            assert ours is not None
            assert theirs in (ours, None)
            assert theirs is not None or abs(first - second) <= 1


def test_a_unified_diff_can_be_applied(tmp_path: Path) -> None:
    program = require_tool("git")
    after = BASE.replace(b"443", b"8443").removesuffix(b"\n") + b"\nMAX_RETRIES=2;"
    (tmp_path / "config.js").write_bytes(BASE)
    lines = unified(BASE, after, FILE)
    subprocess.run([program, "apply", "-p0", "-"], cwd=tmp_path, input="\n".join([*lines, ""]).encode(), check=True)
    assert (tmp_path / "config.js").read_bytes() == after


def test_nothing_changed_is_no_diff() -> None:
    assert unified(BASE, BASE, FILE) == []


def test_what_no_character_shows_is_told() -> None:
    assert unified(BASE, BASE.replace(b"\n", b"\r\n"), FILE) == ["\\ line ends change from LF to CR LF"]
    (line,) = unified(BASE, b"\xef\xbb\xbf" + BASE, FILE)
    assert line == "\\ the encoding changes from utf-8 to utf-8 with a byte order mark"


PASSWORDS = [
    (b'PASSWORD="marker-77";\n', "config.js"),
    (b'// PASSWORD = "marker-77";\n', "config.js"),
    (b"password=\xe2\x80\x9cmarker-77\xe2\x80\x9d\n", "config.js"),
    (b'PASSWORD="marker-77\n', "config.js"),
    (b'"PASSWORD" = "marker-77"\n', "vcb.toml"),
    (b'PASSWORD = """\nmarker-77"""\n', "vcb.toml"),
]


@pytest.mark.parametrize(("line", "name"), PASSWORDS)
def test_no_password_is_shown(line: bytes, name: str) -> None:
    file, other = Path(name), line.replace(b"77", b"88")
    shown = unified(line, b"", file) + unified(line, other, file) + three_way_view(three_way(line, other, b""), file)
    assert "marker" not in "\n".join(shown)
    assert "***" in "\n".join(shown)


def test_the_view_of_a_conflict_shows_all_sides() -> None:
    mine = BASE.replace(b"443", b"1")
    disk = BASE.replace(b"443", b"2").replace(b"LOGLEVEL=3", b"LOGLEVEL=4")
    assert three_way_view(three_way(BASE, mine, disk), FILE) == [
        '  HOST="vc";',
        "<<<<<<< mine",
        "PORT=1;",
        "||||||| as it was read (line 2)",
        "PORT=443;",
        "=======",
        "PORT=2;",
        ">>>>>>> on the disk now",
        '  USERNAME="backup";',
        "D LOGLEVEL=4;",
    ]


def test_the_view_reads_each_side_in_its_encoding() -> None:
    text = "// バックアップの設定\nPORT=1;\n"
    base, mine = (version.encode("utf-16") for version in (text, text.replace("設定", "準備")))
    assert three_way_view(three_way(base, mine, base), FILE) == ["M // バックアップの準備", "  PORT=1;"]
    disk = text.replace("1", "2").encode("cp932")
    assert "// バックアップの設定" in three_way_view(three_way(base, mine, disk), FILE)
