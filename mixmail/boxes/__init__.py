"""Boxes: capabilities, records and their stamps, placement, queries, and the rules of a store.

Byte layouts: docs/protocol/boxes.md and docs/protocol/store.md.
"""
