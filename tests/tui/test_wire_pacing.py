"""One live repaint on the line; answers to keys pass; a silent terminal stops nothing for long."""

import pytest

from tui.wire.pacing import KEY_FRAMES, KEY_WINDOW, MUTE_PERIOD, PATIENCE, Pacing


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pacing(clock: Clock) -> Pacing:
    return Pacing(clock)


def test_the_next_live_repaint_waits_for_the_answer_to_the_one_before(clock: Clock, pacing: Pacing) -> None:
    assert pacing.clear()
    pacing.sent()
    assert not pacing.clear()
    clock.now += 0.02
    pacing.answered()
    assert pacing.clear()


def test_a_slow_line_rests_as_long_as_a_repaint_took_on_it(clock: Clock, pacing: Pacing) -> None:
    pacing.sent()
    clock.now += 0.01
    pacing.answered()
    pacing.sent()
    clock.now += 0.31
    pacing.answered()
    assert pacing.wait() == pytest.approx(0.3)


def test_a_key_is_answered_at_once_but_not_without_limit(clock: Clock, pacing: Pacing) -> None:
    pacing.sent()
    assert not pacing.answers_key()
    pacing.key()
    assert pacing.answers_key()
    for _ in range(KEY_FRAMES):
        pacing.sent()
    assert not pacing.answers_key()
    pacing.answered()
    pacing.answered()
    assert pacing.answers_key()
    clock.now += KEY_WINDOW
    assert not pacing.answers_key()


def test_a_terminal_that_never_answers_gets_its_repaints_by_time(clock: Clock, pacing: Pacing) -> None:
    pacing.sent()
    clock.now += PATIENCE
    assert pacing.clear()
    pacing.overdue()
    assert pacing.mute
    pacing.sent()
    assert pacing.wait() == pytest.approx(MUTE_PERIOD)
    pacing.answered()
    assert not pacing.mute


def test_a_lost_answer_holds_repaints_up_once(clock: Clock, pacing: Pacing) -> None:
    pacing.sent()
    pacing.answered()
    pacing.sent()
    clock.now += PATIENCE
    pacing.overdue()
    pacing.sent()
    assert pacing.wait() == pytest.approx(2 * PATIENCE), "a stalled line is asked ever more rarely"
    pacing.answered()
    assert pacing.clear()
    pacing.sent()
    assert pacing.wait() == pytest.approx(PATIENCE)


def test_an_answer_that_nobody_asked_for_changes_nothing(pacing: Pacing) -> None:
    pacing.answered()
    pacing.sent()
    assert not pacing.clear()
