import os

from engine.flow.ledger import Fate, Kind, Ledger, ledgers, read


def test_nothing_touched_leaves_no_ledger(tmp_path):
    Ledger(tmp_path / "job").close()
    assert not (tmp_path / "job").exists()


def test_the_intent_is_on_disk_before_the_act(tmp_path):
    ledger = Ledger(tmp_path / "job")
    ledger.intent(Kind.SNAPSHOT, vm="vm-1")
    entry = read(ledger.path)[0]  # no close, no flush: what a crash would leave
    assert (entry.kind, entry.fate, entry.open) == (Kind.SNAPSHOT, Fate.INTENT, True)


def test_each_entry_ends_with_its_last_fate_and_all_its_details(tmp_path):
    ledger = Ledger(tmp_path / "job")
    snapshot = ledger.intent(Kind.SNAPSHOT, vm="vm-1")
    directory = ledger.intent(Kind.DIRECTORY, path="/b/m")
    ledger.done(snapshot, moref="snapshot-3")
    ledger.done(directory)
    assert [entry.number for entry in ledger.open_entries()] == [directory, snapshot]
    ledger.undone(snapshot)
    ledger.left(directory, "a restore point")
    ledger.close()
    first, second = read(ledger.path)
    assert (first.fate, first.details) == (Fate.UNDONE, {"vm": "vm-1", "moref": "snapshot-3"})
    assert (second.fate, second.details["why"]) == (Fate.LEFT, "a restore point")
    assert not ledger.open_entries()


def test_a_torn_last_line_is_ignored(tmp_path):
    ledger = Ledger(tmp_path / "job")
    ledger.intent(Kind.SNAPSHOT, vm="vm-1")
    whole = ledger.path.read_bytes()
    ledger.intent(Kind.DIRECTORY, path="/b/m")
    torn = ledger.path.read_bytes()
    for cut in range(len(whole), len(torn)):
        os.truncate(ledger.path, 0)
        ledger.path.write_bytes(torn[:cut])
        assert [entry.kind for entry in read(ledger.path)] == [Kind.SNAPSHOT]


def test_ledgers_of_all_jobs_oldest_first(tmp_path):
    for job in ("20260102T000000Z-b", "20260101T000000Z-a"):
        Ledger(tmp_path / job).intent(Kind.JOB, vm="vm-1")
    assert [job for job, _ in ledgers(tmp_path)] == ["20260101T000000Z-a", "20260102T000000Z-b"]
