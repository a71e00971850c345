"""The key file of a profile."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mixmail.storage import profile_key
from mixmail.storage.errors import DiskError, KeyFileError, NeedsPassphrase, WrongPassphrase
from mixmail.testing import SeededRandomness


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_key, "MEMORY_BYTES", 2**20)
    monkeypatch.setattr(profile_key, "PASSES", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "profile.key"


def test_open(path: Path) -> None:
    key = profile_key.create(path)
    assert len(key) == 32
    assert path.read_bytes() == b"\1" + key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not profile_key.is_sealed(path)
    assert profile_key.load(path) == profile_key.load(path, "not needed") == key
    assert [file.name for file in path.parent.iterdir()] == ["profile.key"]


def test_sealed(path: Path) -> None:
    key = profile_key.create(path, "correct horse")
    raw = path.read_bytes()
    assert raw[0] == 2
    assert len(raw) == 1 + 16 + 24 + 32 + 16
    assert key not in raw
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert profile_key.is_sealed(path)
    assert profile_key.load(path, "correct horse") == key
    for none in (None, ""):
        with pytest.raises(NeedsPassphrase) as needs:
            profile_key.load(path, none)
        assert needs.value.code == "locked"
    with pytest.raises(WrongPassphrase) as wrong:
        profile_key.load(path, "correct hors")
    assert wrong.value.code == "passphrase"


def test_the_keyboard_does_not_matter(path: Path) -> None:
    key = profile_key.create(path, "Ka\u0308se \ufb01n")
    assert profile_key.load(path, "K\u00e4se fin") == key


def test_changing_the_passphrase_keeps_the_key(path: Path) -> None:
    key = profile_key.create(path)
    profile_key.change_passphrase(path, None, "one")
    first = path.read_bytes()
    profile_key.change_passphrase(path, "one", "one")
    assert path.read_bytes()[1:17] != first[1:17]  # a salt of its own each time
    profile_key.change_passphrase(path, "one", "two")
    with pytest.raises(WrongPassphrase):
        profile_key.load(path, "one")
    before = path.read_bytes()
    with pytest.raises(WrongPassphrase):
        profile_key.change_passphrase(path, "one", "three")
    assert path.read_bytes() == before
    assert profile_key.load(path, "two") == key
    profile_key.change_passphrase(path, "two", None)
    assert path.read_bytes() == b"\1" + key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_never_replaced(path: Path) -> None:
    profile_key.create(path)
    before = path.read_bytes()
    with pytest.raises(KeyFileError):
        profile_key.create(path)
    assert path.read_bytes() == before


def test_missing_or_damaged(path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        profile_key.load(path)
    assert caught.value.code == "key"
    assert str(path) in caught.value.message
    profile_key.create(path, "x")
    sealed = path.read_bytes()
    for raw in (
        b"",
        b"\1",
        b"\1" + bytes(31),
        b"\1" + bytes(33),
        b"\3" + bytes(32),
        sealed[:-1],
        sealed + b"0",
    ):
        path.write_bytes(raw)
        with pytest.raises(KeyFileError):
            profile_key.load(path, "x")
    for place in (1, 20, 60):
        path.write_bytes(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :])
        with pytest.raises(WrongPassphrase):
            profile_key.load(path, "x")


def test_what_the_system_refuses(path: Path) -> None:
    path.mkdir()
    with pytest.raises(DiskError):
        profile_key.load(path)
    with pytest.raises(DiskError):
        profile_key.create(path.parent / "missing" / "profile.key")


def test_keys_are_drawn(path: Path) -> None:
    keys = {profile_key.create(path.with_name(str(number))) for number in range(3)}
    assert len(keys) == 3
    assert profile_key.create(path, None, SeededRandomness(1)) == SeededRandomness(1).bytes(32)
