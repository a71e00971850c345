"""Bech32m by the vectors of BIP-350, and addresses as people mistype them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.errors import RemoteProtocolError, UserError
from mixmail.mail import bech32m
from mixmail.mail.address import ADDRESS_BYTES, TEXT_CHARS, Address
from mixmail.mail.identity import Identity

# BIP-350, "Test vectors"
VALID = [
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
]
INVALID = [
    "\x201xj0phk",
    "\x7f1g6xzxy",
    "\x801vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
]
SEGWIT_V1 = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"
# the segwit addresses of versions 1 to 16 with their version and program: all that are Bech32m
SEGWIT = [
    (
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
        1,
        "751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
    ),
    ("BC1SW50QGDZ25J", 16, "751e"),
    ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", 2, "751e76e8199196d454941c45d1b3a323"),
    (
        "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
        1,
        "000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
    (SEGWIT_V1, 1, "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
]
# the invalid segwit addresses, and the valid ones of version 0, that already Bech32m refuses ...
NOT_BECH32M = [
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
    "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
]
# ... and those whose words are no bytes
WRONG_PADDING = [
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
]

ME = Identity(bytes(range(32))).address


@pytest.mark.parametrize("text", VALID)
def test_valid_vectors_decode_and_encode_again(text: str) -> None:
    hrp, words = bech32m.decode_words(text)
    assert bech32m.encode_words(hrp, words) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_invalid_vectors_are_refused(text: str) -> None:
    with pytest.raises(bech32m.Bech32Error):
        bech32m.decode_words(text)


@pytest.mark.parametrize(("text", "version", "program"), SEGWIT)
def test_vectors_with_data(text: str, version: int, program: str) -> None:
    hrp, words = bech32m.decode_words(text)
    assert (hrp, words[0]) == (text[:2].lower(), version)
    assert bech32m.decode(bech32m.encode_words("x", words[1:]))[1].hex() == program


@pytest.mark.parametrize("text", NOT_BECH32M)
def test_invalid_segwit_addresses_are_refused(text: str) -> None:
    with pytest.raises(bech32m.Bech32Error):
        bech32m.decode_words(text)


@pytest.mark.parametrize("text", WRONG_PADDING)
def test_segwit_addresses_with_wrong_padding_are_refused(text: str) -> None:
    _, words = bech32m.decode_words(text)
    with pytest.raises(bech32m.Bech32Error) as caught:
        bech32m.decode(bech32m.encode_words("x", words[1:]))
    assert caught.value.reason == bech32m.Bech32Error.PADDING


@given(st.binary(max_size=60))
def test_bytes_come_back(data: bytes) -> None:
    assert bech32m.decode(bech32m.encode("mix", data), 200) == ("mix", data)


@pytest.mark.parametrize("words", [[0, 0, 0], [31, 31]])
def test_padding_must_be_short_and_zero(words: list[int]) -> None:
    with pytest.raises(bech32m.Bech32Error) as caught:
        bech32m.decode(bech32m.encode_words("mix", words))
    assert caught.value.reason == bech32m.Bech32Error.PADDING


def test_an_address_in_every_form_in_which_it_is_handed_on() -> None:
    assert len(ME.text) == TEXT_CHARS == 95 and ME.text.startswith("mix1")
    assert ME.uri == "mixmail:" + ME.text
    for form in (ME.text, ME.uri, ME.text.upper(), ME.uri.upper(), f"  {ME.text}\n", f" MixMail:{ME.text}"):
        assert Address.parse(form) == ME
    assert Address.unpack(ME.pack()) == ME and len(ME.pack()) == ADDRESS_BYTES == 53


def refused(text: str) -> str:
    with pytest.raises(UserError) as caught:
        Address.parse(text)
    assert caught.value.code == "address"
    message = caught.value.message
    assert message.endswith(".") and "\n" not in message and message.count(". ") == 0
    return message


def encoded(raw: bytes) -> str:
    return bech32m.encode("mix", raw)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "must begin"),
        ("mixmail:", "must begin"),
        ("bob@example.org", "must begin"),
        (ME.text[1:], "must begin"),
        (SEGWIT_V1, "must begin"),
        (ME.text[:-1] + ("q" if ME.text[-1] != "q" else "p"), "checksum"),
        (ME.text[:40] + ("z" if ME.text[40] != "z" else "y") + ME.text[41:], "checksum"),
        (ME.text[:50] + ME.text[50:].upper(), "small"),
        (ME.text[:-1], "94 characters"),
        (ME.text + "q", "96 characters"),
        ("mix1", "4 characters"),
        ("mix1" + "q" * 10_000, "10004 characters"),
        (ME.text[:20] + "b" + ME.text[21:], "character that no address has"),
        (ME.text[:20] + "ü" + ME.text[21:], "character that no address has"),
        (encoded(b"\x02" + ME.pack()[1:]), "another version"),
        (encoded(b"\x02" + bytes(80)), "another version"),
        (encoded(ME.pack()[:-1]), "wrong length"),
        (encoded(ME.pack() + b"\0"), "wrong length"),
        (encoded(b""), "another version"),
        (encoded(b"\x01" + bytes(32) + ME.commitment), "no usable key"),
        (encoded(b"\x01\x01" + bytes(31) + ME.commitment), "no usable key"),
    ],
)
def test_what_is_wrong_with_an_address_in_one_sentence(text: str, word: str) -> None:
    assert word in refused(text)


def test_every_single_mistyped_character_is_found() -> None:
    for position in range(4, TEXT_CHARS):
        for character in bech32m.CHARSET:
            if character != ME.text[position]:
                assert "checksum" in refused(ME.text[:position] + character + ME.text[position + 1 :])


@given(st.text(max_size=200))
def test_any_text_is_an_address_or_a_sentence(text: str) -> None:
    refused(text)
    refused("mix1" + text)


@given(st.binary(max_size=60))
def test_any_bytes_of_a_peer_are_an_address_or_refused(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Address.unpack(raw)
    with pytest.raises(RemoteProtocolError):
        Address.unpack(b"\x01" + bytes(32) + raw[:20].ljust(20, b"\0"))
