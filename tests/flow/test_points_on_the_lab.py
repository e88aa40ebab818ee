"""Points that the real flow makes: proven on record, looked at again through their chain, kept and removed."""

import random
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.flow import retain
from engine.flow.point_check import PointChecks
from engine.lab.faults import Rule
from engine.points import proof as proofs
from engine.points.catalog import Catalogue, look
from engine.points.proof import Depth
from engine.reporter import silent
from engine.state_directory import StateDirectory
from tests.flow.checks import assert_nothing_left
from tests.flow.conftest import Proxy
from tests.points.made import flip


@pytest.fixture
def chain(proxy: Proxy) -> list[Path]:
    """A full point and two that complete it."""
    points = [proxy.backup(CHANGE_TRACKING="enable").point for _ in range(4)]
    kinds = [point.kind for point in catalogue(proxy).points]
    assert kinds[-2:] == ["incremental"] * 2, kinds
    return [point for point in points if point is not None][-3:]


def catalogue(proxy: Proxy) -> Catalogue:
    return look(proxy.root, StateDirectory.default().root)


def test_the_run_records_its_proof(proxy: Proxy) -> None:
    outcome = proxy.backup()
    assert outcome.point is not None
    proof = proofs.read(outcome.point)
    assert proof is not None
    assert proof.passed is not None
    assert proof.passed.depth is Depth.GRAINS
    assert proof.manifest == proofs.manifest_digest(outcome.point)
    (point,) = catalogue(proxy).points
    assert point.proven == proof.passed.at


def test_a_chain_of_the_flow_is_sound_and_damage_anywhere_in_it_is_found(proxy: Proxy, chain: list[Path]) -> None:
    checks = PointChecks(Depth.CHAIN, CancelToken(), silent())
    for directory in chain:
        checked = checks.check(directory)
        assert (checked.findings, checked.notes) == ([], [])
    rng = random.Random(4)
    for directory in chain:
        for path in sorted(directory.iterdir()):
            whole, proof = path.read_bytes(), (directory / proofs.FILE_NAME).read_bytes()
            flip(path, rng.randrange(len(whole)), rng.randrange(8))
            checked = PointChecks(Depth.FILES, CancelToken(), silent()).check(directory)
            assert checked.findings, path
            (directory / proofs.FILE_NAME).write_bytes(proof)
            path.write_bytes(whole)
    assert not PointChecks(Depth.CHAIN, CancelToken(), silent()).check(chain[-1]).findings


@pytest.mark.exhaustive
def test_what_the_newest_point_needs_stays_and_the_rest_goes(proxy: Proxy, chain: list[Path]) -> None:
    settings, state = proxy.settings(KEEP_LAST=1), StateDirectory.default()
    before = {point.directory for point in catalogue(proxy).points}
    plans = retain.plan(settings, proxy.root, state)
    done = retain.carry_out(plans, settings, proxy.root, state, report=proxy.report, cancel=CancelToken())
    assert done.errors == []
    found = catalogue(proxy)
    newest = found.by_directory[chain[-1]]
    needed = {link.directory for link in found.chain(newest)}
    assert {point.directory for point in found.points} == needed
    assert set(done.removed) == before - needed
    assert not PointChecks(Depth.CHAIN, CancelToken(), silent()).check(chain[-1]).findings
    assert_nothing_left(proxy)


def test_a_failed_run_holds_everything_until_a_good_one(proxy: Proxy) -> None:
    settings, state = proxy.settings(KEEP_LAST=1), StateDirectory.default()
    for _ in range(2):
        assert proxy.backup(BACKUP_TYPE="full").error is None
    proxy.lab.faults.add(Rule("nfc.read", action="drop", phase="data", last=0))
    assert proxy.backup(BACKUP_TYPE="full").error is not None
    (plan,) = retain.plan(settings, proxy.root, state)
    assert plan.going == ()
    assert "has made no point" in plan.hold
    proxy.lab.faults.clear()
    assert proxy.backup(BACKUP_TYPE="full").error is None
    (plan,) = retain.plan(settings, proxy.root, state)
    assert len(plan.going) == 2
