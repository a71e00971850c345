"""Floor 1: the onion packet (docs/protocol/packet.md).

A KEM-Sphinx: one X-Wing ciphertext a hop, a header of five routing blocks that shifts by one at each
hop, and a body under a wide-block cipher.  `create` builds packets, `surb` builds reply blocks and
uses them, `unwrap` takes one layer off.  All packets have one size and no sign of their path's
length, of their position in it, or of being a reply.
"""
