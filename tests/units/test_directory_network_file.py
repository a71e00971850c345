"""The network file: text and back, and one sentence for everything that is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.directory.network_file import NetworkFile, Seed, parse
from mixmail.errors import UserError
from mixmail.params import MAIL, Network

SEEDS = (
    Seed("tcp:192.0.2.1:4711", b"\x01" * 32, b"\x02" * 32),
    Seed('tor:"odd\\name":1', b"\xab" * 32, b"\xcd" * 32),
)
FILE = NetworkFile(bytes(range(32)), 20_780, "mail", SEEDS)


def test_the_text_is_read_back():
    assert parse(FILE.text()) == FILE
    alone = NetworkFile(bytes(32), 0, "demo", ())
    assert parse(alone.text()) == alone


def test_the_text_is_the_documented_one():
    assert FILE.text().startswith(
        f'version = 1\nnetwork = "{bytes(range(32)).hex()}"\nbirth_day = 20780\nparameters = "mail"\n'
        f'\n[[seeds]]\nendpoint = "tcp:192.0.2.1:4711"\ncertificate = "{"01" * 32}"\nnode = "{"02" * 32}"\n'
    )


def test_it_names_a_network():
    assert FILE.network() == Network(bytes(range(32)), 20_780, MAIL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("version = 1", "version = true"),
        ("version = 1", ""),
        ("birth_day = 20780", "birth_day = -1"),
        ("birth_day = 20780", "birth_day = 65536"),
        ("birth_day = 20780", "birth_day = true"),
        ("birth_day = 20780", "birth_day = '1'"),
        ('parameters = "mail"', 'parameters = "letters"'),
        ('parameters = "mail"', "parameters = []"),
        ('parameters = "mail"', 'parameters = "mail"\nseed = 1'),
        ("network = ", "network = 7 #"),
        ('network = "00', 'network = "zz'),
        ('network = "00', 'network = "'),
        ("[[seeds]]", "[[trees]]"),
        ("[[seeds]]", "[[seeds]]\nsize = 1"),
        ("tcp:192.0.2.1:4711", ""),
        ("tcp:192.0.2.1:4711", "tcp: 1"),
        ("tcp:192.0.2.1:4711", "x" * 129),
        ("endpoint", "end"),
        ("certificate", "cert"),
        ('node = "02', 'node = "2'),
        ("version = 1", "version = 1\nversion = 1"),
        ("version = 1", "version = " + "1" * 5000),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(old, new):
    assert old in FILE.text()
    with pytest.raises(UserError) as caught:
        parse(FILE.text().replace(old, new, 1))
    assert caught.value.code == "network-file"
    assert caught.value.message.startswith("The network file cannot be used: ")


@pytest.mark.parametrize("seeds", ["seeds = 1", "seeds = [1]"])
def test_seeds_must_be_tables(seeds):
    text = NetworkFile(bytes(32), 0, "demo", ()).text() + seeds + "\n"
    with pytest.raises(UserError):
        parse(text)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    with pytest.raises(UserError):
        parse(text)
