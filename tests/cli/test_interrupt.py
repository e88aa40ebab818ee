"""Signals while a job runs."""

import os
import signal

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled
from tui.cli import interrupt
from tui.cli.interrupt import Interrupts, run_cancellable


def interrupts(times: list[float]) -> tuple[Interrupts, CancelToken, list[str]]:
    token, said = CancelToken(), []
    clock = iter(times)
    return Interrupts(token, said.append, lambda: said.append("ended"), lambda: next(clock)), token, said


def test_the_first_cancels_and_the_second_asks_for_patience() -> None:
    one, token, said = interrupts([10.0])
    one.arrived(signal.SIGINT)
    assert token.cancelled
    one.arrived(signal.SIGINT)
    assert said == [interrupt.CANCELLING, interrupt.PATIENCE]


def test_the_third_within_two_seconds_ends_hard() -> None:
    one, _, said = interrupts([10.0, 11.9])
    for _ in range(3):
        one.arrived(signal.SIGINT)
    assert said == [interrupt.CANCELLING, interrupt.PATIENCE, interrupt.HARD_END, "ended"]


def test_slow_repetition_never_ends_hard() -> None:
    one, _, said = interrupts([10.0, 13.0, 16.0])
    for _ in range(4):
        one.arrived(signal.SIGINT)
    assert said == [interrupt.CANCELLING, *[interrupt.PATIENCE] * 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_cancel_and_never_end_hard(number: int) -> None:
    one, token, said = interrupts([1.0, 1.1, 1.2])
    for _ in range(5):
        one.arrived(number)
    assert token.cancelled
    assert "ended" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_real_signal_reaches_the_job_as_a_cancel(number: int) -> None:
    said: list[str] = []
    before = signal.getsignal(number)

    def work(cancel: CancelToken) -> str:
        os.kill(os.getpid(), number)
        with pytest.raises(Cancelled):
            cancel.wait(30)
        return "undone"

    assert run_cancellable(work, said.append) == "undone"
    assert said == [interrupt.CANCELLING]
    assert signal.getsignal(number) is before


def test_exceptions_come_through() -> None:
    with pytest.raises(Cancelled, match="because"):
        run_cancellable(lambda cancel: (_ for _ in ()).throw(Cancelled("because")), print)
