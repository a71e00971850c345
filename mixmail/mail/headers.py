"""Header values: encoded words (RFC 2047) and texts that are safe to keep in one line."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata

WORD_BYTES = 42  # of UTF-8 in one encoded word: 68 characters, so that "Subject: " and a word fit into 78
PLAIN_CHARS = 60  # a longer plain value is encoded, since only words can be folded anywhere

_PLAIN = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_WORD = re.compile(r"=\?([^?*\s]{1,40})(?:\*[^?\s]{0,20})?\?([bBqQ])\?([^?]*)\?=")
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_IN_A_LINE = {"Cc", "Cs", "Zl", "Zp"}

# Text encodings only: the codec registry also holds compressors, escapes and quadratic ones (punycode).
_CHARSETS = re.compile(
    r"utf-8|utf-16(-[bl]e)?|iso8859-\d+|cp(125\d|43[27]|8[56]\d|874|93[26]|949|950)|koi8-[rut]|gb2312|gbk|gb18030"
    r"|hz|big5(hkscs)?|shift_jis(_2004|x0213)?|euc_(jp|kr|jis_2004|jisx0213)|iso2022_(jp|kr)(_\w+)?|mac-\w+|tis-620"
)


def one_line(text: str) -> str:
    """`text` with controls and line separators made spaces, without spaces at its ends."""
    return "".join(" " if unicodedata.category(c) in _NOT_IN_A_LINE else c for c in text).strip()


def decode_text(data: bytes, charset: str | None) -> str:
    """Text in a named encoding; unknown names and ASCII are read as UTF-8, wrong bytes become U+FFFD."""
    name = (charset or "").strip().lower()
    try:
        name = codecs.lookup(re.sub(r"-[ie]$", "", name)).name
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        name = "utf-8"
    if not _CHARSETS.fullmatch(name):
        name = "utf-8"
    # utf-8 and utf-16 refuse lone surrogates, and no other of the list can give one
    return data.decode(name, "replace")


def encode_line(text: str) -> str:
    """A header value in ASCII: `text` itself if it is short, plain and printable, else encoded words."""
    if not text or (_PLAIN.fullmatch(text) and len(text) <= PLAIN_CHARS and "=?" not in text):
        return text
    words: list[str] = []
    piece = b""
    for character in text:
        raw = character.encode("utf-8", "replace")
        if len(piece) + len(raw) > WORD_BYTES:
            words.append(_word(piece))
            piece = b""
        piece += raw
    return "\r\n ".join([*words, _word(piece)])


def _word(piece: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(piece).decode('ascii')}?="


def decode_line(value: str) -> str:
    """The text of a header value, folded or not; what cannot be decoded stays as it was written."""
    value = value.replace("\r", "").replace("\n", "")
    out: list[str] = []
    held, held_charset = b"", ""
    end = 0
    for match in _WORD.finditer(value):
        between = value[end : match.start()]
        charset, encoding, coded = match.groups()
        data = _decode_word(encoding, coded)
        if data is None:
            continue
        charset = charset.lower()
        if held and (between.strip(" \t") or charset != held_charset):
            out.append(decode_text(held, held_charset))
            held = b""
        # white space between two encoded words only folds
        if between.strip(" \t") or end == 0:
            out.append(between)
        held, held_charset = held + data, charset
        end = match.end()
    out.append(decode_text(held, held_charset))
    out.append(value[end:])
    return one_line("".join(out))


def _decode_word(encoding: str, coded: str) -> bytes | None:
    raw = coded.encode("utf-8", "replace")
    if encoding in "qQ":
        return _HEX.sub(lambda match: bytes([int(match[1], 16)]), raw.replace(b"_", b" "))
    try:
        return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True)
    except binascii.Error:
        return None
