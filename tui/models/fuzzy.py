"""Fuzzy matching of names: the letters of a word in their order, `w1` finds web01.

A searchable text is `name<TAB>rest`: a word matches a name fuzzily, the rest (addresses, tags) only as it stands, or
almost everything would match. Matching takes time in proportion to the text, whatever it holds: every step of the
pattern is possessive.
"""

import re
from collections.abc import Callable
from functools import lru_cache

TAB = "\t"


def folded(name: str, rest: str = "") -> str:
    """The searchable text of a name, and of what else it may be found by."""
    return f"{name}{TAB}{rest}".casefold()


@lru_cache(maxsize=64)
def matcher(needle: str) -> Callable[[str], object]:
    """A function that is true for the searchable texts in which every word of `needle` is found."""
    tests = [_pattern(word).match for word in needle.casefold().split()]
    if len(tests) == 1:
        return tests[0]
    return lambda text: all(test(text) for test in tests)


def _pattern(word: str) -> re.Pattern[str]:
    letters = "".join(f"[^{TAB}{re.escape(letter)}]*+{re.escape(letter)}" for letter in word)
    return re.compile(f"(?:{letters}|[^{TAB}]*+{TAB}(?s:.)*?{re.escape(word)})")


def places(needle: str, name: str) -> set[int]:
    """The letters of `name` that `needle` matched, for highlighting: a whole word where it stands as it is."""
    found: set[int] = set()
    lowered = name.casefold()
    if len(lowered) != len(name):  # some letters fold to several: positions would be wrong
        return found
    for word in needle.casefold().split():
        if (start := lowered.find(word)) >= 0:
            found.update(range(start, start + len(word)))
            continue
        spots, at = [], -1
        for letter in word:
            at = lowered.find(letter, at + 1)
            if at < 0:
                break
            spots.append(at)
        if len(spots) == len(word):
            found.update(spots)
    return found


def rank(needle: str, name: str) -> tuple[int, int, str] | None:
    """How well a name fits, smallest first: the same, its beginning, inside, scattered; None when it doesn't."""
    word, lowered = needle.casefold().strip(), name.casefold()
    if not word:
        return None
    if lowered == word:
        return 0, 0, lowered
    if lowered.startswith(word):
        return 1, len(lowered), lowered
    if (at := lowered.find(word)) >= 0:
        return 2, at, lowered
    return (3, len(lowered), lowered) if matcher(needle)(folded(name)) else None
