"""What `redact` knows: every secret that is held, and the newest of those that were."""

import gc

from engine import secret
from engine.secret import Secret, redact


def test_a_held_secret_is_masked_however_many_came_after_it():
    password = Secret("held-through-it-all")
    for number in range(3 * secret._REMEMBERED):
        Secret(f"ticket-number-{number:06}")
    gc.collect()
    assert redact("it was held-through-it-all!") == "it was ***!"
    assert password


def test_a_spent_one_is_masked_for_a_while_and_then_forgotten():
    Secret("spent-a-moment-ago")
    gc.collect()
    assert redact("spent-a-moment-ago") == "***"
    for number in range(secret._REMEMBERED + 1):
        Secret(f"later-ticket-{number:06}")
    gc.collect()
    redact("")
    assert "spent-a-moment-ago" not in secret._forms
    assert len(secret._departed) <= secret._REMEMBERED


def test_two_holders_of_one_value():
    first, second = Secret("the-same-for-both"), Secret("the-same-for-both")
    del first
    gc.collect()
    for number in range(2 * secret._REMEMBERED):
        Secret(f"between-{number:06}")
    assert redact("the-same-for-both") == "***"
    assert second


class _Allocating(str):
    """A form that collects garbage when it is put into a set, as any allocation there may."""

    __slots__ = ()

    def __hash__(self) -> int:
        gc.collect()
        return super().__hash__()


def test_secrets_may_be_collected_while_the_registry_is_read():
    """Tickets in reference cycles die whenever the collector runs, in whichever function that is."""
    held = Secret("held-through-it-all")
    form = _Allocating("another form of it")
    secret._forms[held.reveal()].add(form)
    gc.disable()
    try:
        for number in range(2 * secret._REMEMBERED):
            cycle: list = [Secret(f"in-a-cycle-{number:06}")]
            cycle.append(cycle)
        del cycle
        assert redact("held-through-it-all, another form of it") == "***, ***"
    finally:
        gc.enable()
        secret._forms[held.reveal()].discard(form)
    redact("")
    assert len(secret._departed) <= secret._REMEMBERED


def test_a_form_is_found_in_texts_of_any_length():
    """Short texts are searched in another way than those with more characters than there are forms."""
    held = [Secret(f"{number:03}-of-many") for number in range(100)] + [Secret("/:päss<1>")]
    forms = ["042-of-many", "/:päss<1>", "%2F%3Ap%C3%A4ss%3C1%3E", "/:päss&lt;1&gt;", "/:p\\u00e4ss<1>"]
    for form in forms:
        for around in ("", "x", "012", "-" * 10_000):
            assert redact(f"{around}{form}{around}") == f"{around}***{around}"
    assert redact("042-of-manx 42-of-many -of") == "042-of-manx 42-of-many -of"
    assert held


def test_of_two_forms_the_longer_one_is_masked_whole():
    held = Secret("open"), Secret("open-sesame")
    assert redact("open-sesame, open") == "***, ***"
    assert held
