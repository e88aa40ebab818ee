"""Faults on the way of the bytes: the NFC port of the ESXi host, and HTTPS transfers."""

from collections.abc import Iterator
from dataclasses import replace

from engine.lab.faults import Rule
from tests.faults.cells import UNHARMED, Cell, Trouble
from tests.faults.recording import Met, Recording
from tests.faults.scene import SHORT_TIMEOUT

_SILENCE = SHORT_TIMEOUT * 2.5
_BYTES = (0, 1, 511, 70_000)
"""Where in a message or body the trouble begins."""


def nfc(transport: str, recorded: Recording) -> Iterator[Cell]:
    """Each kind of message: refused, cut, silent, slow, cut short, and (fragments of data) with a bit flipped."""
    for met in _first_and_last(met for met in recorded.points if met.name.startswith("nfc.")):
        for row, rule in _of_a_message(met):
            for last in (met.number, 0):
                settings = {} if last else {"MAX_RETRIES": 1}  # what lasts must end in spite of retries
                known = rule.action != "corrupt"
                trouble = Trouble((_lasting(rule, last),), settings=settings, content_known=known)
                what = f"{met.name} {met.number} {'once' if last else 'for good'} {rule.size}"
                yield Cell(row, met.stage, transport, what, trouble)


def _of_a_message(met: Met) -> Iterator[tuple[str, Rule]]:
    yield "NFC cut", Rule(met.name, "drop", "data", first=met.number)
    if met.name == "nfc.certificate":
        return
    for name in ("FileNotFound", "FileLocked", "NoPermission", "vmodl.fault.SystemError"):
        yield f"NFC refused {name.rpartition('.')[2]}", Rule(met.name, "fault", "data", first=met.number, fault=name)
    yield "NFC silent", Rule(met.name, "delay", "data", first=met.number, delay=_SILENCE)
    if met.name != "nfc.read":
        return
    yield "NFC slow", Rule(met.name, "slow", "data", first=met.number, size=1 << 20)
    for place in _BYTES:
        yield "NFC cut short", Rule(met.name, "short", "data", first=met.number, size=place)
        yield "NFC bit flipped", Rule(met.name, "corrupt", "data", first=met.number, size=place)


def http(transport: str, recorded: Recording) -> Iterator[Cell]:
    """Each transfer: of disks (https) and of configuration files."""
    for met in (met for met in recorded.points if met.name == "http"):
        for row, rule in _of_a_transfer(met):
            for last in (met.number, 0):
                what = f"transfer {met.number} {row.split()[-1]} {'once' if last else 'for good'} {rule.size}"
                yield Cell(row, met.stage, transport, what, Trouble((_lasting(rule, last),)))
        slow = Rule(met.name, "slow", "data", first=met.number, size=4 << 20)
        expected = UNHARMED
        yield Cell("HTTPS slow", met.stage, transport, f"transfer {met.number}", Trouble((slow,), expected=expected))


def _of_a_transfer(met: Met) -> Iterator[tuple[str, Rule]]:
    yield "HTTPS cut", Rule(met.name, "drop", "data", first=met.number)
    yield "HTTPS cut at the end", Rule(met.name, "drop-after", "data", first=met.number)
    yield "HTTPS refused", Rule(met.name, "fault", "data", first=met.number, fault="vim.fault.FileNotFound")
    yield "HTTPS silent", Rule(met.name, "delay", "data", first=met.number, delay=_SILENCE)
    for place in _BYTES:
        yield "HTTPS cut short", Rule(met.name, "short", "data", first=met.number, size=place)
        yield "HTTPS bit flipped", Rule(met.name, "corrupt", "data", first=met.number, size=place)


def changed_areas(transport: str, recorded: Recording) -> Iterator[Cell]:
    """A change tracking that lies, fails, or is slow. Its answer decides what is not read."""
    for met in (met for met in recorded.points if met.name == "QueryChangedDiskAreas" and met.phase == "data"):
        for place in (0, 65_536, 700_000):
            # The audit reads everything here, so that what was left out is found.
            trouble = Trouble((Rule(met.name, "omit", "data", first=met.number, size=place),), settings=_AUDIT_ALL)
            yield Cell("CBT lies", met.stage, transport, f"answer {met.number} from byte {place}", trouble)


_AUDIT_ALL = {"CBT_AUDIT": "100%"}


def _lasting(rule: Rule, last: int) -> Rule:
    return replace(rule, last=last)


def _first_and_last(met: Iterator[Met]) -> Iterator[Met]:
    """Of each kind of message in each stage."""
    ends: dict[tuple[str, str], list[Met]] = {}
    for each in met:
        ends.setdefault((each.stage, each.name), []).append(each)
    for group in ends.values():
        yield from dict.fromkeys((group[0], group[-1]))
