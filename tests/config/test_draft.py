"""Drafts: what was not saved is there again, and no secret with it."""

import base64
import json
import stat

from engine.config.draft import Drafts
from engine.state_directory import StateDirectory

BASE = b'HOST="vc1";\nPASSWORD="geheim-4711";\nPORT="443";\nLOGLEVEL="3";\n'


def drafts(tmp_path):
    return Drafts(tmp_path / "config.js", StateDirectory(tmp_path / "state"))


def test_a_draft_brings_the_edit_back_and_holds_no_password(tmp_path):
    kept = drafts(tmp_path)
    mine = BASE.replace(b"443", b"8443")
    kept.keep(BASE, mine, exists=True)
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600
    record = json.loads(kept.file.read_text())
    assert b"4711" not in base64.b64decode(record["mine"]) + base64.b64decode(record["base"])
    draft = drafts(tmp_path).taken_up(BASE)
    assert draft is not None
    assert draft.data == mine
    assert not any((draft.changed, draft.conflict, draft.lost))


def test_the_file_changed_meanwhile_elsewhere_even_its_password(tmp_path):
    kept = drafts(tmp_path)
    kept.keep(BASE, BASE.replace(b"vc1", b"vc2"), exists=True)
    disk = BASE.replace(b"geheim-4711", b"neuer-0815").replace(b'LOGLEVEL="3"', b'LOGLEVEL="4"')
    draft = kept.taken_up(disk)
    assert draft is not None
    assert draft.changed
    assert not draft.conflict
    assert draft.data == disk.replace(b"vc1", b"vc2")


def test_the_file_changed_at_the_same_place(tmp_path):
    kept = drafts(tmp_path)
    kept.keep(BASE, BASE.replace(b"vc1", b"vc2"), exists=True)
    draft = kept.taken_up(BASE.replace(b"vc1", b"vc3"))
    assert draft is not None
    assert draft.conflict
    assert b"vc2" in draft.data


def test_a_typed_password_is_not_kept_and_that_is_told(tmp_path):
    kept = drafts(tmp_path)
    base = BASE.replace(b'PASSWORD="geheim-4711";\n', b"")
    kept.keep(base, b'PASSWORD="frisch-getippt";\n' + base.replace(b"443", b"444"), exists=True)
    draft = kept.taken_up(base)
    assert draft is not None
    assert draft.lost
    assert draft.data == base.replace(b"443", b"444")


def test_a_password_over_several_lines_of_toml(tmp_path):
    kept = Drafts(tmp_path / "vcb.toml", StateDirectory(tmp_path / "state"))
    base = b'HOST = "a"\nPASSWORD = """\nzeile-eins\nzeile-zwei"""\nPORT = 1\n'
    kept.keep(base, base.replace(b"PORT = 1", b"PORT = 443"), exists=True)
    assert b"zeile" not in base64.b64decode(json.loads(kept.file.read_text())["mine"])
    draft = kept.taken_up(base)
    assert draft is not None
    assert draft.data == base.replace(b"PORT = 1", b"PORT = 443")


def test_nothing_to_keep_removes_the_draft_and_a_damaged_one_is_none(tmp_path):
    kept = drafts(tmp_path)
    kept.keep(BASE, BASE + b"// x\n", exists=True)
    kept.keep(BASE, BASE, exists=True)
    assert not kept.file.exists()
    kept.keep(BASE, BASE + b"// x\n", exists=True)
    kept.file.write_bytes(b"{")
    assert kept.taken_up(BASE) is None
