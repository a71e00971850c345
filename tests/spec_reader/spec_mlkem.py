"""ML-KEM-768 in plain Python, written from FIPS 203 (the numbers in brackets are its algorithms). Slow."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from spec_primitives import Refused

Q, N, K, DU, DV = 3329, 256, 3, 10, 4
ETA = 2  # eta_1 and eta_2
PUBLIC, CIPHERTEXT = 1184, 1088

Poly = list[int]


def _bit_reversed(i: int) -> int:
    return int(f"{i:07b}"[::-1], 2)


ZETAS = [pow(17, _bit_reversed(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * _bit_reversed(i) + 1, Q) for i in range(128)]


def _g(data: bytes) -> tuple[bytes, bytes]:
    out = hashlib.sha3_512(data).digest()
    return out[:32], out[32:]


def _encode(f: Poly, d: int) -> bytes:  # (5)
    return sum(c << d * i for i, c in enumerate(f)).to_bytes(32 * d, "little")


def _decode(data: bytes, d: int) -> Poly:  # (6), without the reduction modulo q for d = 12
    wide = int.from_bytes(data, "little")
    return [wide >> d * i & (1 << d) - 1 for i in range(N)]


def _compress(f: Poly, d: int) -> Poly:
    return [((c << d) + Q // 2) // Q % (1 << d) for c in f]


def _decompress(f: Poly, d: int) -> Poly:
    return [(c * Q + (1 << d - 1)) >> d for c in f]


def _sample_ntt(seed: bytes) -> Poly:  # (7)
    stream = hashlib.shake_128(seed).digest(3 * 1024)  # 1024 pairs: not to have 256 below q is out of reach
    out: Poly = []
    for i in range(0, len(stream), 3):
        three = int.from_bytes(stream[i : i + 3], "little")
        out += [d for d in (three & 0xFFF, three >> 12) if d < Q]
        if len(out) >= N:
            return out[:N]
    raise ValueError("too few coefficients below q")


def _sample_cbd(seed: bytes, n: int) -> Poly:  # (8), of PRF_2(seed, n)
    bits = int.from_bytes(hashlib.shake_256(seed + bytes([n])).digest(64 * ETA), "little")
    pairs = [bits >> ETA * i & 3 for i in range(2 * N)]
    return [(pairs[2 * i].bit_count() - pairs[2 * i + 1].bit_count()) % Q for i in range(N)]


def _ntt(f: Poly) -> Poly:  # (9)
    f, i, length = f[:], 1, 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i + 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j], f[j + length] = (f[j] + t) % Q, (f[j] - t) % Q
        length //= 2
    return f


def _inverse_ntt(f: Poly) -> Poly:  # (10)
    f, i, length = f[:], 127, 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i - 1
            for j in range(start, start + length):
                a, b = f[j], f[j + length]
                f[j], f[j + length] = (a + b) % Q, zeta * (b - a) % Q
        length *= 2
    return [c * 3303 % Q for c in f]


def _dot(a: list[Poly], b: list[Poly]) -> Poly:
    """The sum of the products of NTTs (11, 12)."""
    out = [0] * N
    for f, g in zip(a, b, strict=True):
        for i in range(0, N, 2):
            a0, a1, b0, b1 = f[i], f[i + 1], g[i], g[i + 1]
            out[i] += a0 * b0 + a1 * b1 % Q * GAMMAS[i // 2]
            out[i + 1] += a0 * b1 + a1 * b0
    return [c % Q for c in out]


def _plus(*polys: Poly) -> Poly:
    return [sum(column) % Q for column in zip(*polys, strict=True)]


@lru_cache(64)
def _matrix(rho: bytes) -> list[list[Poly]]:
    return [[_sample_ntt(rho + bytes([j, i])) for j in range(K)] for i in range(K)]


def _parts(data: bytes, d: int) -> list[Poly]:
    return [_decode(data[32 * d * i : 32 * d * (i + 1)], d) for i in range(K)]


@lru_cache(64)
def _key_pair(d: bytes) -> tuple[bytes, list[Poly]]:
    """(13): the public key, and s^ of the secret one."""
    rho, sigma = _g(d + bytes([K]))
    s = [_ntt(_sample_cbd(sigma, i)) for i in range(K)]
    e = [_ntt(_sample_cbd(sigma, K + i)) for i in range(K)]
    t = [_plus(_dot(row, s), noise) for row, noise in zip(_matrix(rho), e, strict=True)]
    return b"".join(_encode(f, 12) for f in t) + rho, s


def _encrypt(public: bytes, m: bytes, r: bytes) -> bytes:  # (14)
    t, matrix = _parts(public, 12), _matrix(public[-32:])
    y = [_ntt(_sample_cbd(r, i)) for i in range(K)]
    u = [_plus(_inverse_ntt(_dot([row[i] for row in matrix], y)), _sample_cbd(r, K + i)) for i in range(K)]
    v = _plus(_inverse_ntt(_dot(t, y)), _sample_cbd(r, 2 * K), _decompress(_decode(m, 1), 1))
    return b"".join(_encode(_compress(f, DU), DU) for f in u) + _encode(_compress(v, DV), DV)


def _decrypt(s: list[Poly], ct: bytes) -> bytes:  # (15)
    u = [_decompress(f, DU) for f in _parts(ct, DU)]
    v = _decompress(_decode(ct[32 * DU * K :], DV), DV)
    product = _inverse_ntt(_dot(s, [_ntt(f) for f in u]))
    return _encode(_compress([(a - b) % Q for a, b in zip(v, product, strict=True)], 1), 1)


def public_key(seed: bytes) -> bytes:
    """(16). The seed is d | z."""
    if len(seed) != 64:
        raise Refused("ML-KEM seed")
    return _key_pair(seed[:32])[0]


def encapsulate(public: bytes, m: bytes) -> tuple[bytes, bytes]:
    """(17): (ciphertext, secret) for the randomness m. With the checks of 7.2."""
    if len(public) != PUBLIC or len(m) != 32:
        raise Refused("ML-KEM public key or randomness: length")
    if any(c >= Q for f in _parts(public, 12) for c in f):
        raise Refused("ML-KEM coefficient is not reduced")
    secret, r = _g(m + hashlib.sha3_256(public).digest())
    return _encrypt(public, m, r), secret


@lru_cache(64)
def open_ciphertext(seed: bytes, ct: bytes) -> tuple[bytes, bytes, bytes]:
    """(m', what m' is encrypted to, the secret of implicit rejection)."""
    if len(seed) != 64 or len(ct) != CIPHERTEXT:
        raise Refused("ML-KEM seed or ciphertext: length")
    public, s = _key_pair(seed[:32])
    m = _decrypt(s, ct)
    return m, encapsulate(public, m)[0], hashlib.shake_256(seed[32:] + ct).digest(32)


def decapsulate(seed: bytes, ct: bytes) -> bytes:
    """(18)."""
    m, again, rejected = open_ciphertext(seed, ct)
    return encapsulate(public_key(seed), m)[1] if again == ct else rejected
