"""What a correspondent writes: parts, profiles, addresses, mails (docs/protocol/people.md)."""

from __future__ import annotations

from pathlib import Path

from harness import Harness, change, patched

from mixmail.boxes.capability import WriteCap
from mixmail.boxes.record import RecordType, sign_record
from mixmail.crypto import aead, hashing, kem, x25519
from mixmail.errors import RemoteProtocolError, UserError
from mixmail.mail import bech32m, first_contact, message, mime, parts, session
from mixmail.mail import html as html_text
from mixmail.mail import identity as identities
from mixmail.mail import profile as profiles
from mixmail.mail.address import Address
from mixmail.mail.identity import Identity, Prekey
from mixmail.mail.parts import Part
from mixmail.mail.profile import Profile, open_profile, profile_key
from mixmail.params import GEOMETRY
from mixmail.testing import SeededRandomness

_RNG = SeededRandomness("fuzzing mails")
_ME, _OTHER = Identity(bytes(range(32))), Identity(bytes(32))
_WEEK = 2_857
_PREKEY = Prekey(_WEEK, bytes(range(1, 33)))
_KEY = bytes(range(32))
_PAGE = Profile(
    _WEEK,
    _PREKEY.private.public,
    _PREKEY.x25519_public,
    _ME.x25519_public,
    "Zoë",
    4,
    bytes(16),
)
_PART = Part(bytes(16), 0, 1, b"hello", mac_key=_KEY)
_HEAD = parts._HEAD.size


def part(data: bytes) -> bool:
    """A friend's part: the MAC fits what was changed (first byte odd), or it is a first message's (even)."""
    keyed = bool(data[:1] and data[0] % 2)
    base = (_PART if keyed else Part(bytes(16), 0, 1, b"hello")).pack()
    raw = patched(base, data[1:])
    if keyed and len(raw) >= parts.HEADER_BYTES:
        head, rest = raw[:_HEAD], raw[parts.HEADER_BYTES :]
        raw = head + parts._mac(_KEY, head, rest) + rest
    try:
        parsed = Part.parse(raw, _KEY if keyed else None)
    except RemoteProtocolError:
        return False
    assert parsed.pack() == raw
    return True


_ROOT = bytes(range(32))
_CAP = WriteCap.create(_RNG.bytes(64)).read_cap()
_ANSWER = session.answer_text(
    _ROOT, _CAP, _PREKEY.private.public, Part(bytes(16), 0, 1, b"yes", parts.ANSWER_ROOM)
)


def answer(data: bytes) -> bool:
    """The box in the rendezvous stream, made by the one who holds the session's key."""
    raw = patched(_ANSWER, data)
    if len(raw) >= parts.HEADER_BYTES:
        head, rest = raw[:_HEAD], raw[parts.HEADER_BYTES :]
        raw = head + parts._mac(session.mac_key(_ROOT, session.Side.SECOND), head, rest) + rest
    try:
        parsed = session.parse_answer(_ROOT, raw)
    except RemoteProtocolError:
        return False
    assert session.answer_text(_ROOT, parsed.read_cap, parsed.next_key, parsed.part) == raw
    return True


_PAGE_TEXT = _PAGE.pack()
_POINT = profile_key(_ME.address, _WEEK, 0)


def profile(data: bytes) -> bool:
    """A page that its owner made and signed, then opened by whoever has the address."""
    flags, text = (data[0] if data else 0), patched(_PAGE_TEXT, data[1:])
    owner = _ME.owner.blind(profiles._factor(_ME.address.root, _WEEK, 0))
    kind = RecordType.BOX if flags & 1 else RecordType.MUTABLE
    meta = profiles._META.pack(RecordType.MUTABLE, 7, 20_000, 0)
    text = (text + bytes(GEOMETRY.box_text))[: GEOMETRY.box_text + (1 if flags & 2 else 0)]
    try:
        if flags & 2:
            return bool(Profile.parse(text))
        c = aead.siv_seal(profiles._page_key(_ME.address, _POINT), _POINT[:12], text, _POINT + meta)
        record = sign_record(owner, kind, 7, 20_000, 0, c if not flags & 4 else c[:-1] + b"x", _RNG)
        opened = open_profile(_ME.address, record, _WEEK, 0)
    except RemoteProtocolError:
        return False
    assert opened.pack() == text
    return True


_FIRST = first_contact.seal_first(
    _OTHER,
    _ME.address,
    _PAGE,
    Part(bytes(16), 0, 1, b"hello", parts.FIRST_ROOM).pack(),
    _CAP,
    _PREKEY.private.public,
    _RNG,
)
_CT, _EPHEMERAL, _SEALED_ID = first_contact._HEAD.unpack_from(_FIRST.c)
_KEYS = _PREKEY.private.public.raw + _PREKEY.x25519_public
_S1 = first_contact._id_secret(
    kem.decapsulate(_PREKEY.private, _CT),
    _ME.address,
    _WEEK,
    _KEYS,
    _CT + _EPHEMERAL,
    x25519.exchange(_ME.x25519_secret, _EPHEMERAL),
    x25519.exchange(_PREKEY.x25519_secret, _EPHEMERAL),
)
_BLOCK = aead.chacha_open(_S1[:32], bytes(12), _SEALED_ID, _CT + _EPHEMERAL)
_BODY = _CAP.pack() + _PREKEY.private.public.raw + Part(bytes(16), 0, 1, b"hello", parts.FIRST_ROOM).pack()


def first(data: bytes) -> bool:
    """0: the bytes of an entry; 1: a stranger's own identity block; 2: a stranger's own body."""
    which = data[0] % 3 if data else 0
    c = _FIRST.c
    if which == 0:
        c = patched(c, data[1:])
    else:
        block = patched(_BLOCK, data[1:]) if which == 1 else _BLOCK
        block = (block + bytes(len(_BLOCK)))[: len(_BLOCK)]
        sealed_id = aead.chacha_seal(_S1[:32], bytes(12), block, _CT + _EPHEMERAL)
        try:
            d1 = x25519.exchange(_PREKEY.x25519_secret, block[54:86])
        except RemoteProtocolError:
            d1 = bytes(32)
        s2 = hashing.h512("mm1.first.body", _S1[32:], d1, sealed_id)
        body = patched(_BODY, data[1:]) if which == 2 else _BODY
        body = (body + bytes(len(_BODY)))[: len(_BODY)]
        c = _CT + _EPHEMERAL + sealed_id + aead.chacha_seal(s2[:32], bytes(12), body, sealed_id)
    try:
        opened = first_contact.open_first(_ME, _PREKEY, c)
    except RemoteProtocolError:
        return False
    assert len(opened.text) == first_contact.FIRST_TEXT
    assert opened.sender is None or identities.matches(opened.sender, _OTHER.x25519_public)
    return True


_ADDRESS = _ME.address.text.encode()


def address(data: bytes) -> bool:
    """First byte even: what a person typed; odd: bytes of a peer, which also get a right checksum."""
    if data[:1] and data[0] % 2:
        raw = patched(_ME.address.pack(), data[1:])
        try:
            assert Address.unpack(raw).pack() == raw
        except RemoteProtocolError:
            accepted = False
        else:
            accepted = True
        typed = bech32m.encode("mix", raw) if len(raw) < 600 else ""
    else:
        typed, accepted = data[1:].decode("utf-8", "replace"), None
    try:
        parsed = Address.parse(typed)
    except UserError as error:
        assert error.code == "address" and error.message.endswith(".") and not accepted
        return False
    assert accepted is not False and Address.parse(parsed.uri.upper()) == parsed
    return True


_MAILS = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "data").glob("*.txt"))]
_MAILS += [
    message.compose(
        message.Mail(
            bytes(16),
            "Grüße",
            "Hello\n",
            1_800_000_000,
            'A "B" C',
            bytes(16),
            (message.Attachment("a.txt", "text/plain", b"x"), message.Attachment("b", "image/png", b"\0")),
        )
    ),
    b"From: =?utf-8?q?a=20b?= <a@b>\nSubject: =?utf-8?b?4piD?=\n"
    b"Content-Type: multipart/alternative; boundary=x\n\n--x\nContent-Type: text/plain\n"
    b"Content-Transfer-Encoding: quoted-printable\n\na=20b\n--x\nContent-Type: text/html\n\n"
    b"<p>a<br><a href='http://x'>y</a><ul><li>z</ul><script>1</script><img src=cid:1 alt=q>&amp;\n--x--\n",
    b"Content-Type: message/rfc822\n\nFrom: me <m@n>\nSubject: in\nDate: 1 Jan 2026 10:00:00 +0100\n\nx\n",
    b"Content-Type: multipart/report; boundary=r\n\n"
    b"--r\nContent-Type: message/delivery-status\n\nA: b\n\nC: d\n--r--\n",
    b"Content-Type: multipart/mixed; boundary=e\n\n--e--\n",
    b"Date: Thu, 1 Jan 0001 10:00:00 +2359\nContent-Type: text/plain; charset=nonsense\n\n\xff\n",
    b"Content-Disposition: attachment; filename==?utf-8?q?..=2Fx=00?=\n"
    b"Content-Transfer-Encoding: base64\n\nAAAA=\n",
    b"From: <sender@mixmail>\n\n",
    b"Date: 31 Feb 2026 10:00:00 +0000\nContent-Disposition: attachment; filename="
    + b"n" * 300
    + b".txt\n\nx",
    b"this is no mail",
    b"Subject: =?\xff?q?x?=\nContent-Type: text/plain; charset*=a'b\n\nx",
    b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n\n" * 70,
]
# what the standard library's email package may raise on broken input: anything else is a defect of ours
_LIBRARY = (ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError, UnicodeError)


def mail(data: bytes) -> bool:
    """Two readers of the same bytes: a mail from the network and a file that the user imports."""
    try:
        message.import_eml(data)
    except UserError as error:
        assert error.code in ("eml", "too-large") and error.message.endswith(".")
        assert error.__cause__ is None or isinstance(error.__cause__, (*_LIBRARY, RemoteProtocolError))
    try:
        parsed = message.parse(data)
    except RemoteProtocolError as error:
        assert error.__cause__ is None or isinstance(error.__cause__, _LIBRARY), repr(error.__cause__)
        return False
    assert len(parsed.message_id) == 16 and "\r" not in parsed.text and "\n" not in parsed.subject
    assert 0 <= parsed.sent_minute < 2**38
    for attachment in parsed.attachments:
        assert attachment.name and not set("/\\\0\n") & set(attachment.name) and attachment.name[0] != "."
    shortened = message.Mail(
        parsed.message_id,
        parsed.subject[: message.SUBJECT_CHARS],
        parsed.text,
        parsed.sent_minute,
        parsed.from_name,
        parsed.in_reply_to,
        parsed.attachments[: message.ATTACHMENTS],
    )
    message.parse(message.compose(shortened))
    return True


# a MAIL of no bytes in the place of an ANSWER
_NO_ANSWER = change(1, 1) + change(6, 0) + change(7, 0) + change(parts.HEADER_BYTES, 0, 3)
_CHANGES = (
    change(0, 9),
    change(1, 9),
    change(1, 2),
    change(2, 9),
    change(5, 0),
    change(9, 0xFF),
    change(99, 1),
)
HARNESSES = [
    Harness(
        "part",
        part,
        [
            bytes([odd]) + one
            for odd in (0, 1)
            for one in (b"", *_CHANGES, change(3, 0, 3), change(28, 1, 1), change(40, 5, 3))
        ],
        [Part.parse, parts._mac],
    ),
    Harness(
        "answer",
        answer,
        [
            b"",
            *_CHANGES,
            change(1, 1),
            change(70, 1),
            change(78, 0xFF),
            change(1_330, 1),
            change(60, 0, 3),
            _NO_ANSWER,
        ],
        [session.parse_answer],
    ),
    Harness(
        "profile",
        profile,
        [
            b"",
            b"\x01",
            b"\x02",
            b"\x04",
            *(b"\0" + one for one in _CHANGES),
            b"\0" + change(2, 64),
            b"\0" + change(2, 65),
            b"\0" + change(1_304, 0xFF),
            b"\0" + change(4, 1, 1),
            b"\0" + change(30, 1, 1),
            *(b"\0" + b"".join(change(start + at, 0) for at in range(32)) for start in (24, 56)),
            b"\0" + change(2, 3) + change(1_305, 0xC3) + change(1_306, 0x28),
        ],
        [Profile.parse, open_profile],
    ),
    Harness(
        "first",
        first,
        [
            b"",
            b"\0" + change(3, 0, 3),
            b"\0" + change(500, 1, 1),
            b"\0" + b"".join(change(1_120 + at, 0) for at in range(32)),
            *(
                b"\x01" + one
                for one in (b"", change(0, 0), change(0, 9), change(1, 9), change(3, 1, 1), change(60, 1, 1))
            ),
            b"\x01" + change(95, 1),
            b"\x01" + b"".join(change(at, 0) for at in range(54)),
            b"\x02",
            b"\x02" + change(3, 1, 1),
            b"\x02" + change(32, 0xFF),
            b"\x02" + change(100, 0xFF) + change(101, 0xFF),
        ],
        [first_contact.open_first, first_contact._open_id],
    ),
    Harness(
        "address",
        address,
        [
            b"\0" + _ADDRESS,
            b"\0mixmail:" + _ADDRESS,
            b"\0" + _ADDRESS.upper(),
            b"\0" + _ADDRESS[:20] + _ADDRESS[20:].upper(),
            b"\0" + _ADDRESS[:-1],
            b"\0" + _ADDRESS[:-1] + b"q",
            b"\0" + _ADDRESS[:-1] + b"b",
            b"\0mix1",
            b"\0mix1" + b"q" * 1_100,
            b"\0me@example.org",
            *(
                b"\x01" + one
                for one in (b"", change(0, 2), change(5, 1, 1), change(9, 0, 3), change(32, 0, 3))
            ),
            b"\x01" + b"".join(change(1 + at, 0) for at in range(32)),
            b"\x01" + change(1, 5, 3),
        ],
        [Address.unpack, Address.parse, bech32m.decode, bech32m.decode_words],
    ),
    Harness(
        "mail",
        mail,
        _MAILS,
        [
            message.parse,
            message._mail_of,
            message._enclosed,
            message._display_name,
            message._seconds,
            message.import_eml,
            mime.read,
            mime.contents,
            mime._walk,
            mime._walk_alternative,
            mime._has,
            mime._is_file,
            mime._leaf,
            mime._name,
            mime._status,
            mime.safe_name,
            html_text.html_to_text,
        ],
        raw=True,
    ),
]
