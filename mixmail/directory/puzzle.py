"""The identity puzzle: a node id costs work, again every `puzzle_days` days (docs/protocol/directory.md).

storage_id = Argon2id("mm1.sid" | network hash | node id | nonce(8) | q(u32le)), salt "mm1.sid" and nine
zero bytes; it must begin with `puzzle_bits` zero bits.  It places the node among the homes of a box and
in a mix layer, so nobody can choose the place of a node without that work.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixmail.crypto import argon2, hashing
from mixmail.encoding import u32le
from mixmail.params import ID_BYTES, Network, NetworkParameters

NONCE_BYTES = 8
_DOMAIN = b"mm1.sid"
_SALT = _DOMAIN + bytes(16 - len(_DOMAIN))


@dataclass(frozen=True, slots=True)
class Proof:
    """A solved puzzle: `nonce` (8 bytes), the period `q` it holds for, and the 32-byte result."""

    nonce: bytes
    q: int
    storage_id: bytes


def period(params: NetworkParameters, node_id: bytes, day: int) -> int:
    """q = floor((day + H(id) mod puzzle_days) / puzzle_days): each node renews on a turn of its own."""
    turn = int.from_bytes(hashing.blake2b(node_id, person=b"mm1.sid.turn"), "big") % params.puzzle_days
    return (day + turn) // params.puzzle_days


def storage_id(network: Network, node_id: bytes, nonce: bytes, q: int) -> bytes:
    """The 32-byte result for this nonce: one Argon2id call, so tens of milliseconds with real parameters."""
    params = network.parameters
    data = _DOMAIN + network.hash + node_id + nonce + u32le(q)
    return argon2.argon2id(data, _SALT, params.puzzle_memory, params.puzzle_passes)


def has_zero_bits(params: NetworkParameters, value: bytes) -> bool:
    """True when the 32 bytes `value` begin with `puzzle_bits` zero bits."""
    return int.from_bytes(value, "big") >> (8 * ID_BYTES - params.puzzle_bits) == 0


def solve(network: Network, node_id: bytes, day: int, start: int, attempts: int) -> Proof | None:
    """Try the nonces start .. start + attempts - 1 for the period of `day`; None when none fits.

    A chunk of work: the caller goes on with start + attempts.
    """
    q = period(network.parameters, node_id, day)
    for number in range(start, start + attempts):
        nonce = number.to_bytes(NONCE_BYTES, "big")
        result = storage_id(network, node_id, nonce, q)
        if has_zero_bits(network.parameters, result):
            return Proof(nonce, q, result)
    return None


def check(network: Network, node_id: bytes, proof: Proof) -> bool:
    """True when `proof.storage_id` is the result for its nonce and q and has the zero bits.

    The zero bits come first: a claim without them costs no Argon2id.
    """
    if not has_zero_bits(network.parameters, proof.storage_id):
        return False
    return storage_id(network, node_id, proof.nonce, proof.q) == proof.storage_id
