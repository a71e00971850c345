"""Bech32m (BIP-350): text with a checksum that people can read out, type and scan.

The checksum finds any four wrong characters in up to 90, the limit of the BIP.  Mixmail's addresses have
95, for which the code (length 1023) still finds any three and misses one in 2^30 of all others, so the
limit is an argument here.
"""

from __future__ import annotations

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
CONSTANT = 0x2BC830A3
BIP_LIMIT = 90
CHECKSUM_CHARS = 6

_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_VALUES = {character: value for value, character in enumerate(CHARSET)}


class Bech32Error(ValueError):
    """The text is not bech32m; `reason` is one of the words below."""

    MIXED_CASE = "mixed case"
    CHARACTER = "character"
    SHAPE = "shape"
    CHECKSUM = "checksum"
    PADDING = "padding"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_GENERATORS):
            if top >> i & 1:
                check ^= generator
    return check


def _expand(hrp: str) -> list[int]:
    return [ord(character) >> 5 for character in hrp] + [0] + [ord(character) & 31 for character in hrp]


def encode_words(hrp: str, words: list[int]) -> str:
    """Bech32m of a lower-case prefix and 5-bit words."""
    check = _polymod([*_expand(hrp), *words, *bytes(CHECKSUM_CHARS)]) ^ CONSTANT
    tail = [check >> 5 * (CHECKSUM_CHARS - 1 - i) & 31 for i in range(CHECKSUM_CHARS)]
    return f"{hrp}1{''.join(CHARSET[word] for word in [*words, *tail])}"


def decode_words(text: str, limit: int = BIP_LIMIT) -> tuple[str, list[int]]:
    """The lower-case prefix and the 5-bit words without checksum; Bech32Error if anything is wrong."""
    if any(not 33 <= ord(character) <= 126 for character in text):
        raise Bech32Error(Bech32Error.CHARACTER)
    if text.lower() != text and text.upper() != text:
        raise Bech32Error(Bech32Error.MIXED_CASE)
    text = text.lower()
    hrp, separator, data = text.rpartition("1")
    if not separator or not hrp or len(data) < CHECKSUM_CHARS or len(text) > limit:
        raise Bech32Error(Bech32Error.SHAPE)
    words = [_VALUES.get(character, -1) for character in data]
    if -1 in words:
        raise Bech32Error(Bech32Error.CHARACTER)
    if _polymod(_expand(hrp) + words) != CONSTANT:
        raise Bech32Error(Bech32Error.CHECKSUM)
    return hrp, words[:-CHECKSUM_CHARS]


def encode(hrp: str, data: bytes) -> str:
    """Bech32m of a lower-case prefix and bytes, padded with zero bits."""
    bits = len(data) * 8
    spare = -bits % 5
    value = int.from_bytes(data, "big") << spare
    count = (bits + spare) // 5
    return encode_words(hrp, [value >> 5 * (count - 1 - i) & 31 for i in range(count)])


def decode(text: str, limit: int = BIP_LIMIT) -> tuple[str, bytes]:
    """The prefix and the bytes; Bech32Error also for padding that is too long or not zero."""
    hrp, words = decode_words(text, limit)
    spare = len(words) * 5 % 8
    value = 0
    for word in words:
        value = value << 5 | word
    if spare >= 5 or value & ((1 << spare) - 1):
        raise Bech32Error(Bech32Error.PADDING)
    return hrp, (value >> spare).to_bytes(len(words) * 5 // 8, "big")
