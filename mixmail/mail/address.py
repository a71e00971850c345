"""Addresses: what people give to each other (docs/protocol/people.md, "Address").

    ADDRESS 53 = version u8 (1) | root(32) | commitment(20)       text: bech32m, prefix "mix", 95 characters

`root` is the ed25519 public key of the identity, `commitment` a hash of its X25519 key.  Two addresses are
the same person only if all 53 bytes are equal: anybody can put another commitment behind somebody's root.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixmail.crypto import ed25519
from mixmail.encoding import require_length
from mixmail.errors import RemoteProtocolError, UserError
from mixmail.mail import bech32m
from mixmail.mail.bech32m import Bech32Error

HRP = "mix"
SCHEME = "mixmail:"
VERSION = 1
ROOT_BYTES = 32
COMMITMENT_BYTES = 20
ADDRESS_BYTES = 1 + ROOT_BYTES + COMMITMENT_BYTES
TEXT_CHARS = len(HRP) + 1 + -(-ADDRESS_BYTES * 8 // 5) + bech32m.CHECKSUM_CHARS
_LONGEST = 1023  # the length of the code; a longer text is refused without a look at its checksum


def _wrong(message: str) -> UserError:
    return UserError(message, code="address")


@dataclass(frozen=True, slots=True)
class Address:
    """version | root ed25519 point | commitment to the other keys."""

    version: int
    root: bytes
    commitment: bytes

    def pack(self) -> bytes:
        """53 bytes."""
        return bytes([self.version]) + self.root + self.commitment

    @classmethod
    def unpack(cls, raw: bytes) -> Address:
        """From 53 bytes of a peer; RemoteProtocolError: another version, or a root that is no valid point."""
        require_length("address", raw, ADDRESS_BYTES)
        address = cls(raw[0], raw[1 : 1 + ROOT_BYTES], raw[1 + ROOT_BYTES :])
        if address.version != VERSION:
            raise RemoteProtocolError(f"address of version {address.version}")
        if not ed25519.is_valid_point(address.root):
            raise RemoteProtocolError("the root of an address is not a valid point")
        return address

    @property
    def text(self) -> str:
        """ "mix1…", 95 characters."""
        return bech32m.encode(HRP, self.pack())

    @property
    def uri(self) -> str:
        """ "mixmail:mix1…"."""
        return SCHEME + self.text

    @classmethod
    def parse(cls, text: str) -> Address:
        """From what a person typed, pasted or scanned, with or without "mixmail:", all small or all capital.

        UserError (code "address") with one sentence that says what is wrong.
        """
        text = text.strip()
        if text[: len(SCHEME)].lower() == SCHEME:
            text = text[len(SCHEME) :]
        if not text.lower().startswith(HRP + "1"):
            raise _wrong('This is not a mixmail address: it must begin with "mix1"; copy it again.')
        try:
            _, raw = bech32m.decode(text, _LONGEST)
        except Bech32Error as error:
            raise _wrong(_sentence(error.reason, len(text))) from None
        if raw[:1] != bytes([VERSION]):
            raise _wrong(
                "This address is of another version of mixmail: update mixmail, or ask for a newer address."
            )
        if len(raw) != ADDRESS_BYTES:
            raise _wrong("This address has the wrong length: copy it again, all of it.")
        try:
            return cls.unpack(raw)
        except RemoteProtocolError:
            raise _wrong("This address holds no usable key: ask its owner for the right one.") from None


def _sentence(reason: str, length: int) -> str:
    if reason == Bech32Error.MIXED_CASE:
        return "This address mixes capital and small letters: write it all in small letters."
    if length != TEXT_CHARS:
        return f"This address has {length} characters and not {TEXT_CHARS}: copy it again, all of it."
    if reason == Bech32Error.CHARACTER:
        return "This address holds a character that no address has: copy it again."
    return "The checksum of this address is wrong, so something in it is mistyped: copy it again."
