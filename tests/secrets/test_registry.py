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
