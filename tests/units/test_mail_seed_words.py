"""Seed words: BIP 39's own vectors, and what is said about words that are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.errors import UserError
from mixmail.mail import seed_words
from mixmail.mail.identity import Identity
from mixmail.testing import SeededRandomness

# https://github.com/trezor/python-mnemonic, vectors.json (those of 256 bits)
OFFICIAL = {
    "00" * 32: "abandon " * 23 + "art",
    "7f" * 32: "legal winner thank year wave sausage worth useful " * 2
    + "legal winner thank year wave sausage worth title",
    "80" * 32: "letter advice cage absurd amount doctor acoustic avoid " * 2
    + "letter advice cage absurd amount doctor acoustic bless",
    "ff" * 32: "zoo " * 23 + "vote",
    "9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863": "panda eyebrow bullet gorilla call "
    "smoke muffin taste mesh discover soft ostrich alcohol speed nation flash devote level hobby quick inner "
    "drive ghost inside",
}
GOOD = OFFICIAL["80" * 32]


@pytest.mark.parametrize("seed", list(OFFICIAL))
def test_the_official_vectors(seed: str) -> None:
    assert seed_words.to_words(bytes.fromhex(seed)) == OFFICIAL[seed].split()
    assert seed_words.to_seed(OFFICIAL[seed]) == bytes.fromhex(seed)


@given(st.binary(min_size=32, max_size=32))
def test_every_seed_comes_back(seed: bytes) -> None:
    assert seed_words.to_seed(" ".join(seed_words.to_words(seed))) == seed


def test_words_may_be_typed_as_they_were_shown() -> None:
    shown = "\n".join(f"{n}. {word.upper()}" for n, word in enumerate(GOOD.split(), 1))
    assert seed_words.to_seed(shown) == bytes.fromhex("80" * 32)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "0 words and not 24"),
        (GOOD.rsplit(" ", 1)[0], "23 words and not 24"),
        (GOOD + " zoo", "25 words and not 24"),
        (GOOD.replace("advice", "advise", 1), 'Word 2 is no word of the list (did you mean "advice"?)'),
        (GOOD.replace("cage", "xxxxxxxxxxx", 1), "Word 3 is no word of the list: look"),
        (GOOD.replace("bless", "zoo"), "checksum"),
    ],
)
def test_what_is_wrong_is_said(typed: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        seed_words.to_seed(typed)
    assert says in caught.value.message and caught.value.code == "seed-words"


def test_the_words_are_the_whole_identity() -> None:
    seed = SeededRandomness("words").bytes(32)
    again = Identity(seed_words.to_seed(" ".join(seed_words.to_words(seed))))
    assert again.address == Identity(seed).address


def test_three_different_places_are_asked_each_of_24_now_and_then() -> None:
    rng = SeededRandomness("places")
    drawn = [seed_words.places_to_ask(rng) for _ in range(200)]
    assert all(len(set(places)) == 3 and places == sorted(places) for places in drawn)
    assert {place for places in drawn for place in places} == set(range(1, 25))
