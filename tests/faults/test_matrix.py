"""A sample of the fault matrix; the whole is `python -m tests.faults`."""

import errno
from pathlib import Path

import pytest

from engine import errors
from engine.errors import Cancelled, TargetError, TargetFull, VcbError
from engine.flow.ledger import Kind, Ledger, read
from engine.system_errors import NO_THREAD, from_system
from tests.faults import matrix, scene as scenes
from tests.faults.cells import Cell, Trouble
from tests.faults.os_seam import Seam
from tests.faults.recording import TRANSPORTS, record


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("faults") / "template"
    scenes.build_template(directory)
    return directory


@pytest.mark.parametrize(
    "transport",
    [one if one in ("nbdssl", "hotadd") else pytest.param(one, marks=pytest.mark.exhaustive) for one in TRANSPORTS],
)
def test_a_sample_of_the_matrix(template: Path, tmp_path: Path, transport: str) -> None:
    cells = matrix.all_cells({transport: record(template, tmp_path / "recorded", transport)})
    assert len(cells) > 1000
    assert len({cell.name for cell in cells}) == len(cells)
    chosen = matrix.sample(cells, 150)
    assert {cells[number].row for number in chosen} == {cell.row for cell in cells}
    assert {cells[number].stage for number in chosen} == {cell.stage for cell in cells}
    for number in chosen[4 + TRANSPORTS.index(transport) :: 20]:
        verdict = matrix.run(cells[number], template)
        assert not verdict.problems, f"{verdict.name}: {verdict.problems}"


@pytest.fixture(scope="module")
def cells(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cell]:
    recorded = {"https": record(template, tmp_path_factory.mktemp("recorded") / "scene", "https")}
    return {cell.name: cell for cell in matrix.all_cells(recorded)}


@pytest.mark.parametrize(
    "name",
    [
        "SOAP lost after / open disks / https / ExportSnapshot 1",
        "sessions expire / export / https / all",
        "process table full / open disks / https / 0 left",
        *(
            pytest.param(one, marks=pytest.mark.exhaustive)
            for one in (
                "SOAP silent / snapshot / https / CreateSnapshotEx_Task",
                "SOAP silent / open disks / https / ExportSnapshot",
                "SOAP silent / remove snapshot / https / CurrentTime",
                "VM deleted / export / https / meanwhile",
            )
        ),
    ],
)
def test_cells_that_have_failed(cells: dict[str, Cell], template: Path, name: str) -> None:
    """A lease or snapshot whose answer never came, a lease that no thread could keep alive, a removal that one silence
    stopped, words without an end."""
    verdict = matrix.run(cells[name], template)
    assert not verdict.problems, verdict.problems


def test_the_runner_notices_what_is_wrong(template: Path) -> None:
    """A judge that passes everything proves nothing: a snapshot that is forgotten, a point that is damaged."""

    def damage(scene: scenes.Scene) -> None:
        scene.vm.take_snapshot("_VCB-BACKUP_", "nobody knows")
        image = next(scene.root.glob("points/*/*/scsi0-0.vmdk"))
        image.write_bytes(image.read_bytes()[:-1])

    verdict = matrix.run(Cell("damage", "media", "nbd", "on purpose", Trouble(act=damage)), template)
    found = "\n".join(verdict.problems)
    assert "left behind: snapshot" in found
    assert "scsi0-0.vmdk was changed" in found
    assert "is listed and damaged" in found


def test_every_error_has_a_hint_of_its_own_or_of_its_kind() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VcbError)]
    for kind in kinds:
        assert kind.advice or kind in (VcbError, Cancelled), kind
    assert TargetError("It fails.").hint
    assert TargetError("It fails.", hint="Do this.").hint == "Do this."


def test_what_the_system_refuses_is_told_in_words() -> None:
    full = from_system(OSError(errno.ENOSPC, "No space left on device", "/mnt/x"))
    assert isinstance(full, TargetFull)
    assert "/mnt/x" in full.sentence
    assert full.fault == "ENOSPC"
    for error in (OSError(errno.EMFILE, "Too many"), RuntimeError(NO_THREAD), MemoryError(), OSError(errno.EIO, "I/O")):
        told = from_system(error)
        assert told is not None
        assert told.hint
    assert from_system(RuntimeError("a defect")) is None
    assert from_system(ZeroDivisionError()) is None


def test_a_ledger_whose_line_got_half_through_goes_on(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state" / "jobs" / "one")
    ledger.intent(Kind.DIRECTORY, path="first")
    strikes = iter([errno.ENOSPC])
    with Seam({"state": tmp_path}, lambda where, name, *_: next(strikes, None) if name == "write" else None):
        with pytest.raises(OSError, match="No space"):
            ledger.intent(Kind.DIRECTORY, path="second")
        ledger.intent(Kind.DIRECTORY, path="third")
    ledger.close()
    assert [entry.details["path"] for entry in read(ledger.path)] == ["first", "third"]
