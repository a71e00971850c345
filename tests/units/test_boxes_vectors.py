"""The code still does what tests/vectors/boxes.json says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from mixmail.boxes.query import open_query
from mixmail.boxes.record import Record
from mixmail.crypto import kem
from mixmail.errors import RemoteProtocolError

ROOT = Path(__file__).resolve().parents[2]
VECTORS: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "boxes.json").read_text())
BOX = bytes.fromhex(VECTORS["streams"][0]["boxes"][0]["record"])


def test_the_script_writes_the_same_file_again() -> None:
    path = ROOT / "scripts" / "make_vectors_boxes.py"
    spec = importlib.util.spec_from_file_location("make_vectors_boxes", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.vectors(VECTORS)
    for section, expected in VECTORS.items():
        assert made[section] == expected, section
    assert made.keys() == VECTORS.keys()


def test_the_box_that_the_refusals_change_is_good() -> None:
    assert Record.parse(BOX).check_signature()


@pytest.mark.parametrize("refusal", VECTORS["refused"], ids=lambda refusal: refusal["why"])
def test_refusals(refusal: dict[str, Any]) -> None:
    raw = bytearray(BOX)
    if "cut" in refusal:
        raw = raw[: -refusal["cut"]]
    else:
        change = bytes.fromhex(refusal["bytes"])
        raw[refusal["at"] : refusal["at"] + len(change)] = change
    assert bytes(raw) != BOX
    try:
        refused = not Record.parse(bytes(raw)).check_signature()
    except RemoteProtocolError:
        refused = True
    assert refused


def test_the_blobs_open() -> None:
    part = VECTORS["queries"]
    key = kem.PrivateKey.from_seed(bytes.fromhex(part["proxy_seed"]))
    network, proxy = bytes.fromhex(part["network_hash"]), bytes.fromhex(part["proxy_id"])
    blobs = [(entry["op"], bytes.fromhex(entry["blob"])) for entry in part["queries"] if "blob" in entry]
    assert len(blobs) == 2
    for op, blob in blobs:
        assert open_query([(part["epoch"], key)], network, proxy, blob).op.name == op
