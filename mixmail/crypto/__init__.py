"""Floor 0: the only importer of nacl, cryptography and blake3.

Thin typed wrappers over one construction each; whatever combines them stands on a higher floor.
Callers import the module (`from mixmail.crypto import kem`), never its functions: the lab swaps
`kem`, `hpke`, `wideblock` and `aead` for fast stand-ins by patching their attributes.
"""
