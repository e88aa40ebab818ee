import pytest

from engine.cancel import CancelToken
from engine.errors import BusyError, Cancelled, LoginError, PrivilegeError, VcbError
from engine.events import Retry
from engine.flow.retry import with_retries
from engine.loglevel import LogLevel
from engine.reporter import Reporter, Volume


def run(failures, *, retries, backoff=0.0, cancel=None):
    """Runs an operation that fails with each of `failures` in turn; (answer, attempts, events)."""
    events, left, attempts = [], list(failures), 0

    def operation():
        nonlocal attempts
        attempts += 1
        if left:
            raise left.pop(0)
        return "done"

    report = Reporter(events.append, Volume(LogLevel.WIRE))
    try:
        answer = with_retries(
            operation, doing="Testing", retries=retries, backoff=backoff, report=report, cancel=cancel or CancelToken()
        )
    except VcbError as error:
        answer = error
    return answer, attempts, [event for event in events if isinstance(event, Retry)]


def test_no_retries_means_one_attempt():
    error = BusyError("busy")
    assert run([error], retries=0) == (error, 1, [])


def test_transient_faults_are_tried_again_and_each_time_is_told():
    answer, attempts, told = run([BusyError("busy"), BusyError("busy")], retries=3)
    assert (answer, attempts) == ("done", 3)
    assert [(event.attempt, event.of) for event in told] == [(1, 3), (2, 3)]


def test_the_last_error_is_the_one_that_is_raised():
    errors = [BusyError("first"), BusyError("second"), BusyError("third")]
    assert run(errors, retries=2)[:2] == (errors[2], 3)


@pytest.mark.parametrize("error", [LoginError("no"), PrivilegeError("no"), VcbError("no")])
def test_what_cannot_get_better_is_never_repeated(error):
    assert run([error], retries=5) == (error, 1, [])


def test_a_cancel_ends_the_waiting():
    cancel = CancelToken()

    def stop(event):
        if isinstance(event, Retry):
            cancel.cancel()

    def busy():
        raise BusyError("busy")

    with pytest.raises(Cancelled):
        with_retries(busy, doing="x", retries=9, backoff=3600, report=Reporter(stop, Volume()), cancel=cancel)
