"""Floor 2: who is on the network, without a server: signed node descriptors, their puzzle, the full view
that everybody keeps, layers, paths, gossip payloads and the network file (docs/protocol/directory.md)."""
