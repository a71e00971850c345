"""Stand-ins for the dear primitives, of equal sizes and rules: KEM, HPKE, AEAD, whole packets
(`standin_packets`) and the Argon2id of stamps.

    with stand_in_crypto(seed):
        ...

They hide nothing and cost little, so that long labs are quick.  What a real one refuses (other key, other
nonce, damaged tag) they refuse as well, so the event trace of a run equals that of the real ones (but for
what follows from a KEM's fresh secret: the place of the box in which a first message is answered); damage
elsewhere than in keys, commands and tags goes unnoticed.  Signatures, box ids and placement stay real, but
each of their values is computed once.  Patched in from outside: what ships has no such switch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from types import SimpleNamespace
from unittest.mock import patch

from mixmail.agent import queries
from mixmail.boxes import placement, stamp
from mixmail.crypto import aead, ed25519, hpke, kem
from mixmail.errors import RemoteProtocolError
from mixmail.node import courier, loops, proxy, unwrapping
from mixmail.testing import SeededRandomness

from .standin_packets import Packets

_PAD = bytes(kem.CIPHERTEXT_BYTES - 32)
Places = tuple[tuple[bytes, bytes, bytes], ...]  # (storage id, node id, network)
_KEPT = 50_000  # values of signatures, box ids and rankings that are remembered


def _hash(size: int, *parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=size).digest()


def _check(expected: bytes, found: bytes, what: str) -> None:
    if expected != found:
        raise RemoteProtocolError(f"{what} does not open")


@contextmanager
def stand_in_crypto(seed: int) -> Iterator[None]:
    """Use the stand-ins until the block ends."""
    rng = SeededRandomness(f"stand-ins {seed}")
    packets = Packets(rng)

    def encapsulate(public: kem.PublicKey) -> tuple[bytes, bytes]:
        nonce = rng.bytes(32)
        return nonce + _PAD, _hash(32, nonce, public.raw[:32])

    def decapsulate(private: kem.PrivateKey, ct: bytes) -> bytes:
        if len(ct) != kem.CIPHERTEXT_BYTES:
            raise RemoteProtocolError("X-Wing ciphertext of another length")
        return _hash(32, bytes(ct[:32]), private.public.raw[:32])

    def hpke_seal(public: kem.PublicKey, info: bytes, text: bytes) -> bytes:
        nonce = rng.bytes(32)
        return nonce + _PAD + text + _hash(16, nonce, public.raw[:32], info)

    def hpke_open(private: kem.PrivateKey, info: bytes, sealed: bytes) -> bytes:
        expected = _hash(16, sealed[:32], private.public.raw[:32], info)
        _check(expected, sealed[-16:], "HPKE ciphertext")
        return sealed[kem.CIPHERTEXT_BYTES : -16]

    def seal(key: bytes, nonce: bytes, text: bytes, aad: bytes) -> bytes:
        return text + _hash(16, key, nonce, aad)

    def open_(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        _check(_hash(16, key, nonce, aad), sealed[-16:], "sealed text")
        return sealed[:-16]

    def argon2id(data: bytes, salt: bytes, memory_bytes: int, passes: int, size: int = 32) -> bytes:
        return _hash(size, data, salt)

    rankings: dict[tuple[bytes, int], tuple[Places, list[bytes]]] = {}

    def ranking(key: bytes, nodes: Places, limit: int) -> list[bytes]:
        # Compared, not hashed: the views of one network hold the same strings.
        known = rankings.get((key, limit))
        if known is None or known[0] != nodes:
            if len(rankings) >= _KEPT:
                rankings.clear()
            known = rankings[key, limit] = nodes, placement.ranking(key, nodes, limit)
        return list(known[1])

    with ExitStack() as stack:
        for owner, name, function in (
            (kem, "encapsulate", encapsulate),
            (kem, "decapsulate", decapsulate),
            (hpke, "seal", hpke_seal),
            (hpke, "open_", hpke_open),
            (queries, "create_packet", packets.create_packet),
            (queries, "create_surb", packets.create_surb),
            (queries, "open_surb_reply", packets.open_surb_reply),
            (loops, "create_packet", packets.create_packet),
            (unwrapping, "open_header", packets.open_header),
            (courier, "use_surb", packets.use_surb),
            (aead, "siv_seal", seal),
            (aead, "siv_open", open_),
            (aead, "chacha_seal", seal),
            (aead, "chacha_open", open_),
            (stamp, "argon2", SimpleNamespace(argon2id=argon2id)),
            (ed25519, "verify", lru_cache(_KEPT)(ed25519.verify)),
            (ed25519, "mult", lru_cache(_KEPT)(ed25519.mult)),
            (proxy, "ranking", ranking),
            (proxy, "query_tag", lambda blob: blob[:32]),
        ):
            stack.enter_context(patch.object(owner, name, function))
        yield
