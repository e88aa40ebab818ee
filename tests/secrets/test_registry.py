"""What `redact` knows: every secret that is held, and the newest of those that were."""

import gc
import itertools
import re

from hypothesis import given, strategies as st

from engine import secret
from engine.secret import MASK, Secret, redact


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


def test_secrets_may_be_collected_while_the_registry_is_read(monkeypatch):
    """Tickets in reference cycles die whenever the collector runs, in whichever function that is."""
    written = secret._written_forms
    with monkeypatch.context() as patched:
        patched.setattr(secret, "_written_forms", lambda value: written(value) | {_Allocating("another form of it")})
        held = Secret("held-through-it-all")
    gc.disable()
    try:
        for number in range(2 * secret._REMEMBERED):
            cycle: list = [Secret(f"in-a-cycle-{number:06}")]
            cycle.append(cycle)
        del cycle
        assert redact("held-through-it-all, another form of it") == "***, ***"
    finally:
        gc.enable()
    redact("")
    assert len(secret._departed) <= secret._REMEMBERED
    assert held


def test_a_form_is_found_in_texts_of_any_length():
    held = [Secret(f"{number:03}-of-many") for number in range(100)] + [Secret("/:päss<1>")]
    forms = ["042-of-many", "/:päss<1>", "%2F%3Ap%C3%A4ss%3C1%3E", "/:päss&lt;1&gt;", "/:p\\u00e4ss<1>"]
    for form in forms:
        for around in ("", "x", "012", "-" * 10_000):
            assert redact(f"{around}{form}{around}") == f"{around}***{around}"
    assert redact("042-of-manx 42-of-many -of") == "042-of-manx 42-of-many -of"
    assert held


def test_of_two_that_overlap_nothing_is_left_over():
    held = Secret("first-second"), Secret("second-third")
    assert redact("<first-second-third>, second-thirdfirst-second") == "<***>, ******"
    assert held


def test_of_two_forms_the_longer_one_is_masked_whole():
    held = Secret("open"), Secret("open-sesame")
    assert redact("open-sesame, open") == "***, ***"
    assert held


MANY = tuple(f"{'b' * (number % 7)}-{number:0{1 + number % 9}}-" for number in range(3 * secret._FEW))


@given(
    st.lists(st.text("ab<", min_size=secret._SHORTEST, max_size=40), min_size=1, max_size=8),
    st.lists(st.text("ab<-", max_size=20), min_size=2, max_size=9),
    st.data(),
)
def test_no_form_is_overlooked_however_short_alike_or_placed(values, around, data):
    """Few letters make secrets that contain and overlap each other."""
    held = [Secret(value) for value in [*values, *MANY]]
    forms = sorted(form for value in values for form in secret._written_forms(value))
    text = around[0] + "".join(data.draw(st.sampled_from(forms)) + between for between in around[1:])
    covered = [False] * len(text)
    for form in secret._uses:
        for at in range(len(text)):
            if text.startswith(form, at):
                covered[at : at + len(form)] = [True] * len(form)
    runs = itertools.groupby(range(len(text)), covered.__getitem__)
    expected = "".join(MASK if secrets else text[run[0] : run[-1] + 1] for secrets, group in runs if (run := [*group]))
    assert re.sub(r"(\*\*\*)+", MASK, redact(text)) == expected
    assert held


def test_what_is_forgotten_leaves_nothing_behind():
    gc.collect()
    for number in range(3 * secret._REMEMBERED):
        Secret(f"{number:04}")
        Secret(f"a-longer-one-{number:04}")
    gc.collect()
    redact("text")
    assert set(secret._uses) == {form for forms in secret._forms.values() for form in forms}
    indexed = {form for blocks in secret._BLOCKS for forms in blocks._by_block.values() for form in forms}
    assert indexed | secret._short == set(secret._uses)
    assert set().union(*(blocks._forms for blocks in secret._BLOCKS)) == indexed
