"""Parts that the transport's tests share: certificates, a disk with contents, recorded events."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.events import Event
from engine.reporter import Reporter, Volume
from tests.transport.fake_nfc import FakeHost, Identity, Script

DISK_SIZE = 5 * 1024 * 1024 + 3 * 512
"""Not a multiple of the allocation chunk, nor of the grain."""


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(tmp_path_factory.mktemp("host"), "esx01")


@pytest.fixture(scope="session")
def other_identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(tmp_path_factory.mktemp("impostor"), "impostor")


@pytest.fixture(scope="session")
def disk() -> bytes:
    return random.Random(20).randbytes(DISK_SIZE)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def report(events: list[Event]) -> Reporter:
    return Reporter(events.append, Volume(6))


@pytest.fixture
def fake_host(identity: Identity, disk: bytes) -> Iterator[Callable[..., FakeHost]]:
    """Makes servers with a given script; at the end, none may have anything to complain about."""
    hosts: list[FakeHost] = []

    def make(contents: bytes = disk, **script: object) -> FakeHost:
        hosts.append(FakeHost(identity, contents, Script(**script)))  # type: ignore[arg-type]
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()
    assert [complaint for host in hosts for complaint in host.complaints] == []


@pytest.fixture
def pem(identity: Identity) -> Path:
    return identity.pem
