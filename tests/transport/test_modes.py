"""The table of transport modes agrees with the rest of the engine."""

from engine.config.options import TRANSPORT_MODES
from engine.transport.modes import MODES
from engine.vsphere.privileges import BACKUP_PRIVILEGES


def test_the_modes_are_those_of_the_option() -> None:
    assert list(MODES) == list(TRANSPORT_MODES)
    assert all(name == mode.name for name, mode in MODES.items())


def test_encryption_is_told_truly() -> None:
    assert {name for name, mode in MODES.items() if mode.encrypted} == {"nbdssl", "https"}


def test_the_privileges_are_those_that_are_checked() -> None:
    for name, mode in MODES.items():
        checked = {privilege for need in BACKUP_PRIVILEGES[name] for privilege in need.privileges}
        assert set(mode.privileges) == checked, name
