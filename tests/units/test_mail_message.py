"""Composing and reading mails: exact, equal on every machine, and safe with anybody's bytes."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import locale
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.errors import LocalProtocolError, RemoteProtocolError, UserError
from mixmail.mail import mime
from mixmail.mail.headers import decode_line, decode_text, encode_line, one_line
from mixmail.mail.html import html_to_text
from mixmail.mail.message import ATTACHMENTS, SUBJECT_CHARS, Attachment, Mail, compose, parse

ID, PARENT = bytes(range(16)), bytes(range(16, 32))
HOUR = 472_222 * 3_600
MAIL = Mail(
    ID,
    "Grüße aus Köln ✉",
    "Hallo,\n\nschön.\n-- \nZoë\n",
    HOUR,
    "Zoë",
    PARENT,
    (
        Attachment("notes ü.txt", "text/plain", b"a\r\nb\n\r\r"),
        Attachment("x.bin", "image/x-y", bytes(range(256))),
    ),
)


def test_a_mail_comes_back_equal() -> None:
    assert parse(compose(MAIL)) == MAIL
    plain = Mail(ID, "Hello", "x")
    assert parse(compose(plain)) == plain


def test_the_bytes_of_the_document() -> None:
    assert compose(Mail(ID, "Hello", "one\ntwo\n", HOUR + 3_599, 'Zo "E"', PARENT)) == (
        b'From: "Zo \\"E\\"" <sender@mixmail>\r\n'
        b"Date: Tue, 14 Nov 2023 22:00:00 +0000\r\n"
        b"Subject: Hello\r\n"
        b"Message-ID: <000102030405060708090a0b0c0d0e0f@mixmail>\r\n"
        b"In-Reply-To: <101112131415161718191a1b1c1d1e1f@mixmail>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: binary\r\n"
        b"\r\n"
        b"one\r\ntwo\r\n"
    )


def test_any_mime_reader_understands_it() -> None:
    read = email.message_from_bytes(compose(MAIL), policy=email.policy.default)
    assert (
        not read.defects
        and read["subject"] == MAIL.subject
        and read["from"].addresses[0].display_name == "Zoë"
    )
    body = read.get_body(("plain",))
    assert body is not None and body.get_content().replace("\r\n", "\n") == MAIL.text
    assert [part.get_filename() for part in read.iter_attachments()] == ["notes ü.txt", "x.bin"]
    assert all(
        len(line) <= 78 for line in compose(dataclasses.replace(MAIL, attachments=())).split(b"\r\n")[:12]
    )


LINES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=90).map(str.strip)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=300)
FILES = st.builds(
    Attachment,
    st.text(max_size=40),
    st.sampled_from(
        ["text/plain", "image/png", "application/x-y+z", "multipart/mixed", "message/rfc822", "what?"]
    ),
    st.one_of(st.binary(max_size=200), st.text("\r\n-a", max_size=60).map(str.encode)),
)
MAILS = st.builds(
    Mail,
    st.binary(min_size=16, max_size=16),
    LINES,
    TEXTS,
    st.integers(0, 70_000_000).map(lambda hours: hours * 3_600),
    LINES.filter(lambda name: name != "<sender@mixmail>"),
    st.none() | st.binary(min_size=16, max_size=16),
    st.lists(FILES, max_size=4).map(tuple),
)


@given(MAILS)
def test_any_mail_comes_back_equal(mail: Mail) -> None:
    assert parse(compose(mail)) == mail


@given(st.text(), st.text())
def test_any_subject_and_text_can_be_sent(subject: str, text: str) -> None:
    read = parse(compose(Mail(ID, subject, text, from_name=subject)))
    assert read.message_id == ID and "\r" not in read.text and len(read.subject.splitlines()) < 2


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q?a?=",
        "a" * 500,
        "ü" * 1_000,
        "😀" * 1_000,
        " spaced ",
        "a\nBcc: x",
        "a\r\n\r\nbody",
        'q "x" \\ <y>',
        "a  b",
    ],
)
def test_subjects_that_try_something(subject: str) -> None:
    raw = compose(Mail(ID, subject, "text", from_name=subject))
    read = parse(raw)
    assert read.subject == read.from_name == one_line(subject) and read.text == "text"
    assert b"\nBcc" not in raw
    assert raw == compose(Mail(ID, one_line(subject), "text", from_name=one_line(subject)))


def test_limits_are_told_in_a_sentence() -> None:
    with pytest.raises(UserError) as caught:
        compose(dataclasses.replace(MAIL, subject="x" * (SUBJECT_CHARS + 1)))
    assert caught.value.code == "subject"
    many = tuple(Attachment("a", "a/b", b"") for _ in range(ATTACHMENTS + 1))
    with pytest.raises(UserError) as caught:
        compose(dataclasses.replace(MAIL, attachments=many))
    assert caught.value.code == "too-large"
    most = dataclasses.replace(MAIL, attachments=many[1:])
    assert parse(compose(most)) == most
    with pytest.raises(LocalProtocolError):
        compose(dataclasses.replace(MAIL, message_id=b"short"))


def test_time_is_told_to_the_hour_only() -> None:
    times = {compose(dataclasses.replace(MAIL, sent_minute=HOUR + second)) for second in (0, 1, 1_800, 3_599)}
    assert len(times) == 1 and compose(dataclasses.replace(MAIL, sent_minute=HOUR + 3_600)) not in times
    assert parse(compose(dataclasses.replace(MAIL, sent_minute=-5))).sent_minute == 0
    assert parse(compose(dataclasses.replace(MAIL, sent_minute=10**18))).sent_minute == 253_402_297_200


ZONES = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Apia",
    "Pacific/Chatham",
    "XXX-14",
    "XXX+12",
    "Pacific/Kiritimati",
    "Africa/Cairo",
    "America/Sao_Paulo",
    "Asia/Tehran",
    "Antarctica/Troll",
    "AAA-5:45",
    "EST5EDT,M3.2.0,M11.1.0",
    "NZST-12NZDT,M9.5.0,M4.1.0/3",
]
LOCALES = ["C", "C.UTF-8", "POSIX", "de_DE.UTF-8", "ja_JP.UTF-8", "tr_TR.UTF-8", "fr_FR", "ar_EG.UTF-8"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    before = locale.setlocale(locale.LC_ALL)
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()
    locale.setlocale(locale.LC_ALL, before)


def test_equal_bytes_in_24_time_zones_in_any_locale_on_any_host(machine: pytest.MonkeyPatch) -> None:
    mails, offsets = set(), set()
    assert len(ZONES) == 24
    for number, zone in enumerate(ZONES):
        machine.setenv("TZ", zone)
        time.tzset()
        offsets.add(time.localtime(HOUR).tm_gmtoff)
        name = LOCALES[number % len(LOCALES)]
        if (
            name in LOCALES[:3]
        ):  # the others may not be installed; they are set as a program's user would below
            locale.setlocale(locale.LC_ALL, name)
        machine.setenv("LC_ALL", name)
        for variable in ("HOSTNAME", "USER", "LOGNAME", "HOME", "PWD", "EMAIL"):
            machine.setenv(variable, f"secret-{variable}-{number}")
        machine.setattr(socket, "gethostname", lambda number=number: f"secret-host-{number}")
        machine.setattr(socket, "getfqdn", lambda *_, number=number: f"secret-host-{number}.example")
        mails.add(compose(MAIL))
    assert len(mails) == 1 and len(offsets) > 12
    assert b"secret" not in mails.pop()


def test_equal_bytes_from_other_processes() -> None:
    program = (
        "import locale, sys; from mixmail.mail.message import *\n"
        "try: locale.setlocale(locale.LC_ALL, '')\n"
        "except locale.Error: pass\n"
        f"sys.stdout.buffer.write(compose({MAIL!r}))"
    )
    for number, name in enumerate(LOCALES[1:4]):
        own = {"TZ": ZONES[number + 3], "LC_ALL": name, "PYTHONHASHSEED": str(number), "HOSTNAME": "secret"}
        environment = {**os.environ, **own, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        )
        assert done.stdout == compose(MAIL)


# reading what others wrote


def test_html_only_mail_is_shown_as_text() -> None:
    page = "<html><head><title>no</title><style>p{}</style></head><body><h1>Hi</h1><p>a&nbsp;&amp; b<br>c"
    page += (
        '<a href="https://x.y/?a=1&amp;b=2">there</a><script>alert(1)</script><img src="http://t" alt="cat">'
    )
    read = parse(b"Subject: x\r\nContent-Type: text/html\r\n\r\n" + page.encode())
    assert read.text == "Hi\n\na & b\ncthere <https://x.y/?a=1&b=2>[cat]\n"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("a < b <c", "a < b <c\n"),
        ("<!-- x --><![if y]>z<!doctype html>", "z\n"),
        ("<!-- never closed <p>text", "<!-- never closed\n\ntext\n"),
        ("<![<![<![", "<![<![<![\n"),
        ("<head><title>never closed<body>text", "text\n"),
        ("<pre>a\n  b</pre>", "a\nb\n"),
        ("<a href='javascript:x'>y</a>", "y\n"),
        ("<ul><li>a<li>b</ul>", "- a\n- b\n"),
        ("&#0;&#x110000;&bogus;", "\ufffd\ufffd&bogus;\n"),
        ("", "\n"),
    ],
)
def test_html_in_every_state_of_repair(page: str, text: str) -> None:
    assert html_to_text(page).lstrip("\n") == text.lstrip("\n")


TAGS = st.sampled_from([*"<>/!-?[]'\"=& \nab;#x", "<a href='", "<script>", "</head>", "<!--", "-->", "<pre>"])


@given(st.lists(TAGS, max_size=60).map("".join))
def test_any_html_becomes_text(page: str) -> None:
    assert html_to_text(page).endswith("\n")


def test_an_alternative_is_shown_once_and_loses_no_file() -> None:
    raw = (
        b"Content-Type: multipart/alternative; boundary=b\n\n"
        b"--b\nContent-Type: text/plain\n\nplain\n"
        b"--b\nContent-Type: multipart/related; boundary=c\n\n--c\nContent-Type: text/html\n\n<p>html\n"
        b"--c\nContent-Type: image/png; name=p.png\n\npng\n--c--\n--b--\n"
    )
    read = parse(raw)
    assert read.text == "plain" and read.attachments == (Attachment("p.png", "image/png", b"png"),)


def test_a_message_in_a_message_is_kept_as_a_file_of_our_own_form() -> None:
    raw = (
        b"Content-Type: message/rfc822\n\n"
        b"Received: from secret\nFrom: Ann <ann@x.org>\nTo: me@secret\nSubject: =?iso-8859-1?q?=E4?=\n"
        b"Date: Tue, 14 Nov 2023 23:30:00 +0100\n\ninner\n"
    )
    file = parse(raw).attachments[0]
    inner = parse(file.data)
    assert (file.name, file.type) == ("message.eml", "application/octet-stream")
    assert (inner.from_name, inner.subject, inner.text, inner.sent_minute) == ("Ann", "ä", "inner\n", HOUR)
    assert b"secret" not in file.data


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("iso-8859-1", b"\xe4", "ä"),
        ("us-ascii", "ä".encode(), "ä"),
        ("no-such", "ä".encode(), "ä"),
        ("utf-8", b"a\xff", "a\ufffd"),
        ("iso-8859-8-i", b"\xe0", "א"),
        ("koi8-r", b"\xc1", "а"),
        ("shift_jis", b"\x82\xa0", "あ"),
        ("zlib", b"x", "x"),
        ("punycode", b"x-", "x-"),
        ("unicode_escape", b"\\ud800", "\\ud800"),
        ("undefined", b"x", "x"),
        ("idna", b"xn--a", "xn--a"),
        ("utf-7", b"+AOQ-", "+AOQ-"),
        ("a\0b", b"x", "x"),
        ("", b"x", "x"),
        (None, b"x", "x"),
    ],
)
def test_charsets_that_exist_and_those_that_must_not(charset: str | None, data: bytes, text: str) -> None:
    assert decode_text(data, charset) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?iso-8859-1?Q?a=E4_b?=", "aä b"),
        ("=?utf-8?b?w6Q=?= =?utf-8?b?w6Q=?=", "ää"),
        ("=?utf-8?b?w6Q?=", "ä"),
        ("=?utf-8?b?ww==?=\r\n =?utf-8?b?pA==?=", "ä"),
        ("x =?utf-8*en?q?=C3=A4?= y", "x ä y"),
        ("=?utf-8?b?!?=", "=?utf-8?b?!?="),
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),
        ("a\tb\x07c", "a b c"),
        ("=?", "=?"),
    ],
)
def test_encoded_words(value: str, text: str) -> None:
    assert decode_line(value) == text


@given(LINES)
def test_any_line_is_ascii_when_encoded(line: str) -> None:
    assert decode_line(encode_line(line)) == line
    assert encode_line(line).isascii()


def test_raw_utf8_in_headers_is_read() -> None:
    raw = 'Subject: Grüße\nContent-Type: a/b; name="ü.txt"\n\nx'.encode()
    read = parse(raw)
    assert read.subject == "Grüße" and read.attachments[0].name == "ü.txt"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("../../a", "a"),
        ("..", "attachment"),
        (".bashrc", "bashrc"),
        ("a\x00b\x1b[31m\u202egnp.exe", "ab[31mgnp.exe"),
        ("", "attachment"),
        ("x" * 300 + ".tar", "x" * 196 + ".tar"),
        ("a/", "attachment"),
        ("\ud800a", "a"),
    ],
)
def test_file_names_are_made_safe_when_written_and_when_read(name: str, safe: str) -> None:
    assert Attachment(name, "a/b", b"").name == safe == mime.safe_name(name)
    if name.isprintable() and '"' not in name and "\\" not in name:
        raw = b'Content-Type: a/b\nContent-Disposition: attachment; filename="' + name.encode() + b'"\n\nx'
        assert parse(raw).attachments[0].name == safe


@pytest.mark.parametrize(
    "kind", ["multipart/mixed", "message/rfc822", "a", "a/b; c=d", "a/b\r\nX: y", "", "ä/b"]
)
def test_types_that_a_reader_would_take_apart_become_octets(kind: str) -> None:
    assert Attachment("a", kind, b"").type == "application/octet-stream"
    assert Attachment("a", "Image/PNG", b"").type == "image/png"


def test_a_mail_without_our_message_id_gets_a_stable_one() -> None:
    ids = [
        parse(raw).message_id for raw in (b"a: b\n\nc", b"a: b\n\nc", b"a: b\n\nd", b"Message-ID: <x@y>\n\nc")
    ]
    assert ids[0] == ids[1] and len(set(ids)) == 3 and all(len(value) == 16 for value in ids)


def test_mails_built_to_cost_time_are_cut_or_refused() -> None:
    """The bounds hold by structure: parts are counted, headers are cut."""
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(200))
    with pytest.raises(RemoteProtocolError, match="parts"):
        parse(nested)
    with pytest.raises(RemoteProtocolError, match="parts"):
        parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 200)
    assert len(parse(b"Subject: " + b"x" * 100_000 + b"\n\n").subject) == mime.HEADER_CHARS


@given(st.binary(max_size=400))
def test_any_bytes_are_a_mail_or_refused(raw: bytes) -> None:
    assert readable(raw)


SNIPPETS = st.sampled_from(
    [
        b"Content-Type: ",
        b"multipart/mixed; boundary=",
        b"b",
        b"\n",
        b"\r\n",
        b"--b",
        b"--b--",
        b"message/rfc822",
        b";",
        b"message/delivery-status",
        b"text/html",
        b"text/plain; charset=",
        b'"',
        b"Content-Transfer-Encoding: ",
        b"base64",
        b"quoted-printable",
        b"x-uuencode",
        b"begin 666 a\n",
        b"=?utf-8?b?",
        b"?=",
        b"Date: ",
        b"Tue, 99 Foo 99999 25:61 +9999",
        b"Content-Disposition: attachment; filename",
        b"*0*=",
        b"*=utf-8''%ff",
        b"From: ",
        b"<",
        b">",
        b"\xff",
        b"message/external-body",
        b"message/partial",
        b"multipart/alternative;boundary=b",
        b"Subject: ",
        b"Message-ID: ",
        b"(",
        b"charset*=zlib''x",
        b"=",
        b"\x00",
        b"Date: 1 Jan 1 00:00:00 +0000",
        b"Date: Mon, 1 Jan 9999 23:59:59 -2359",
    ]
)


@given(st.lists(SNIPPETS, max_size=40).map(b"".join))
def test_anything_like_mime_is_a_mail_or_refused(raw: bytes) -> None:
    assert readable(raw)


def readable(raw: bytes) -> bool:
    """Read, and if it can be read, fit to be composed again."""
    try:
        mail = parse(raw)
    except RemoteProtocolError:
        return True
    again = parse(compose(dataclasses.replace(mail, subject=mail.subject[:SUBJECT_CHARS])))
    return again.attachments == mail.attachments and again.text == mail.text
