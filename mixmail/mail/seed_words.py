"""An identity's 32-byte seed as 24 words that can be written on paper (BIP 39, English list).

The last word holds 8 bits of checksum, so one mistaken word is found in 255 of 256 cases.  The words are the
identity: whoever has them can read its first messages and write as it.
"""

from __future__ import annotations

import difflib
from functools import cache

from mnemonic import Mnemonic

from mixmail.errors import UserError
from mixmail.randomness import Randomness

WORDS = 24
SEED_BYTES = 32
ASKED = 3


def _wrong(message: str) -> UserError:
    return UserError(message, code="seed-words")


@cache
def _list() -> Mnemonic:
    return Mnemonic("english")


def to_words(seed: bytes) -> list[str]:
    """24 words for 32 bytes."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed of {len(seed)} bytes")
    return str(_list().to_mnemonic(seed)).split()


def to_seed(text: str) -> bytes:
    """The 32 bytes of 24 words, in any case, with any white space and numbers ("1.") between them.

    UserError (code "seed-words") with one sentence that says what is wrong.
    """
    words = [word for word in text.lower().split() if not word.rstrip(".)").isdigit()]
    known = _list().wordlist
    for number, word in enumerate(words, 1):
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            raise _wrong(f"Word {number} is no word of the list{hint}: look at your note again.")
    if len(words) != WORDS:
        raise _wrong(f"These are {len(words)} words and not {WORDS}: type all of them in their order.")
    try:
        return bytes(_list().to_entropy(words))
    except ValueError:
        raise _wrong(
            "The checksum of these words is wrong: one is another word, or two stand in each other's place."
        ) from None


def places_to_ask(rng: Randomness) -> list[int]:
    """Three different places (from 1 on, in order) whose words show that somebody has written all down."""
    places = list(range(1, WORDS + 1))
    rng.shuffle(places)
    return sorted(places[:ASKED])
