"""Every cell of SNAPSHOT_POLICY x (0, 1, 2 existing backup snapshots) x PREEXISTING_VCB_SNAPSHOT says what happens."""

from datetime import UTC, datetime

import pytest

from engine.errors import PolicyError
from engine.flow.policies import decide_snapshot
from engine.vsphere.snapshots import SNAPSHOT_NAME, Snapshot


def snapshot(moref, name=SNAPSHOT_NAME):
    return Snapshot(
        moref=moref, name=name, description="", created=datetime(2026, 1, 1, tzinfo=UTC), quiesced=False,
        parent=None, children=(),
    )  # fmt: skip


FOREIGN = snapshot("snapshot-90", "before the upgrade")
OURS = (snapshot("snapshot-1"), snapshot("snapshot-2"))
REFUSED = "refused"

# (policy, existing, PREEXISTING_VCB_SNAPSHOT): refused, or (removed first, created, used, removed after)
CELLS = {
    ("automatic", 0, "fail"): (0, True, None, True),
    ("automatic", 0, "delete"): (0, True, None, True),
    ("automatic", 1, "fail"): REFUSED,
    ("automatic", 1, "delete"): (1, True, None, True),
    ("automatic", 2, "fail"): REFUSED,
    ("automatic", 2, "delete"): (2, True, None, True),
    ("createonly", 0, "fail"): (0, True, None, False),
    ("createonly", 0, "delete"): (0, True, None, False),
    ("createonly", 1, "fail"): REFUSED,
    ("createonly", 1, "delete"): (1, True, None, False),
    ("createonly", 2, "fail"): REFUSED,
    ("createonly", 2, "delete"): (2, True, None, False),
    ("manual", 0, "fail"): REFUSED,
    ("manual", 0, "delete"): REFUSED,
    ("manual", 1, "fail"): (0, False, "snapshot-1", False),
    ("manual", 1, "delete"): (0, False, "snapshot-1", False),
    ("manual", 2, "fail"): REFUSED,
    ("manual", 2, "delete"): REFUSED,
    ("deleteonly", 0, "fail"): REFUSED,
    ("deleteonly", 0, "delete"): REFUSED,
    ("deleteonly", 1, "fail"): (0, False, "snapshot-1", True),
    ("deleteonly", 1, "delete"): (0, False, "snapshot-1", True),
    ("deleteonly", 2, "fail"): REFUSED,
    ("deleteonly", 2, "delete"): REFUSED,
}


@pytest.mark.parametrize(("policy", "existing", "preexisting"), CELLS)
def test_every_cell(policy, existing, preexisting):
    present = (FOREIGN, *OURS[:existing])
    expected = CELLS[policy, existing, preexisting]
    if expected == REFUSED:
        with pytest.raises(PolicyError):
            decide_snapshot(policy, preexisting, present, lambda s: True)
        return
    decision = decide_snapshot(policy, preexisting, present, lambda s: True)
    used = decision.use.moref if decision.use else None
    assert (len(decision.remove_first), decision.create, used, decision.remove_after) == expected
    assert FOREIGN not in decision.remove_first


@pytest.mark.parametrize("policy", ["automatic", "createonly"])
def test_delete_never_takes_what_is_not_provably_ours(policy):
    with pytest.raises(PolicyError, match=r"snapshot-2.*not provably") as refusal:
        decide_snapshot(policy, "delete", OURS, lambda s: s.moref == "snapshot-1")
    assert "--adopt snapshot-2" in refusal.value.hint


def test_deleteonly_never_takes_what_is_not_provably_ours():
    with pytest.raises(PolicyError, match="not provably"):
        decide_snapshot("deleteonly", "fail", OURS[:1], lambda s: False)


def test_manual_reads_anybodys_backup_snapshot_because_it_touches_none():
    decision = decide_snapshot("manual", "fail", OURS[:1], lambda s: False)
    assert decision.use == OURS[0]
    assert not decision.remove_after


def test_the_refusal_names_what_is_there():
    with pytest.raises(PolicyError, match=r"_VCB-BACKUP_ \(snapshot-1, of 2026-01-01 00:00\)"):
        decide_snapshot("automatic", "fail", OURS[:1], lambda s: True)
