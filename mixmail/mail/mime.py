"""Reading MIME from anybody (RFC 2045-2049, 2183, 2231), with bounded work.

The standard library's parser does the syntax.  Its costs grow with the square of a header's length and
with the depth of nesting, so headers are cut and the parts of a mail are counted while it reads.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from typing import NamedTuple

from mixmail.errors import RemoteProtocolError
from mixmail.mail.headers import decode_line, decode_text
from mixmail.mail.html import html_to_text

HEADER_CHARS = 8_192  # twice the longest header that `compose` writes
PARTS = 64  # of a mail from a peer: reading costs lines times depth of nesting
IMPORT_PARTS = 1_000  # of the user's own file
NAME_CHARS = 200
OCTETS = "application/octet-stream"


class File(NamedTuple):
    """An attachment as it stands in a mail: safe name, type "a/b", bytes."""

    name: str
    type: str
    data: bytes


class _Bounded(Compat32):
    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """A header cut to HEADER_CHARS, its raw bytes beyond ASCII read as UTF-8 (RFC 6532)."""
        name, value = super().header_source_parse(sourcelines)
        return name, value[:HEADER_CHARS].encode("ascii", "surrogateescape").decode("utf-8", "replace")


_POLICY = _Bounded()


def read(raw: bytes, parts_limit: int = PARTS) -> Message:
    """The tree of a mail.  RemoteProtocolError if it has more than `parts_limit` parts."""
    count = 0

    def counted(policy: Compat32 = _POLICY) -> Message:
        nonlocal count
        count += 1
        if count > parts_limit:
            raise RemoteProtocolError(f"a mail of more than {parts_limit} parts")
        return Message(policy)

    return BytesParser(counted, policy=_POLICY).parsebytes(raw)


def header(message: Message, name: str) -> str:
    """The decoded value of the first header of this name, in one line; "" if there is none."""
    return decode_line(str(message.get(name, "")))


def safe_name(name: str) -> str:
    """A file name without path, controls, invisible marks, leading dots; "attachment" if nothing is left."""
    name = name.replace("\\", "/").rpartition("/")[2]
    name = "".join(c for c in name if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"})
    name = name.strip().lstrip(".").strip()
    if len(name) > NAME_CHARS:
        stem, dot, end = name.rpartition(".")
        end = dot + end if stem and len(end) < 16 else ""
        name = name[: NAME_CHARS - len(end)] + end
    return name or "attachment"


@dataclass
class Contents:
    """What a mail says: the texts that are shown, one after the other, and the files with it."""

    texts: list[str] = field(default_factory=list)
    files: list[File] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All texts, each from a new line."""
        out = ""
        for text in self.texts:
            out += ("" if not out or out.endswith("\n") else "\n") + text
        return out


def contents(message: Message, enclosed: Callable[[Message], bytes]) -> Contents:
    """Texts and files of a mail; `enclosed` gives the bytes that a message within the message is kept as."""
    found = Contents()
    _walk(message, found, enclosed, texts=True)
    return found


def _walk(part: Message, found: Contents, enclosed: Callable[[Message], bytes], texts: bool) -> None:
    kind = part.get_content_type()
    children = (
        [child for child in part.get_payload() if isinstance(child, Message)] if part.is_multipart() else []
    )
    if kind == "multipart/alternative":
        _walk_alternative(children, found, enclosed, texts)
    elif kind == "message/delivery-status":
        found.files.append(File(_name(part), "text/plain", _status(children)))
    elif kind.startswith("message/") and children:
        name = safe_name(part.get_filename() or "message.eml")
        found.files.append(File(name, OCTETS, enclosed(children[0])))
    elif children:
        for child in children:
            _walk(child, found, enclosed, texts)
    elif part.is_multipart():
        return  # a multipart of no parts
    else:
        _leaf(part, kind, found, texts)


def _walk_alternative(
    children: list[Message], found: Contents, enclosed: Callable[[Message], bytes], texts: bool
) -> None:
    """One of the texts that say the same, plain if there is one, and all files."""
    plain = next((child for child in children if _has(child, "text/plain")), None)
    shown = plain or next((child for child in children if _has(child, "text/html")), None)
    for child in children:
        _walk(child, found, enclosed, texts and child is shown)


def _has(part: Message, kind: str) -> bool:
    return any(leaf.get_content_type() == kind and not _is_file(leaf, kind) for leaf in part.walk())


def _is_file(part: Message, kind: str) -> bool:
    if kind not in ("text/plain", "text/html") and not kind.startswith("multipart/"):
        return True
    named = part.get_param("filename", None, "content-disposition") is not None
    return named or part.get_content_disposition() == "attachment"


def _leaf(part: Message, kind: str, found: Contents, texts: bool) -> None:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    if _is_file(part, kind):
        found.files.append(File(_name(part), kind, data))
    elif texts:
        text = decode_text(data, part.get_content_charset()).replace("\r\n", "\n").replace("\r", "\n")
        found.texts.append(html_to_text(text) if kind == "text/html" else text)


def _name(part: Message) -> str:
    # some mailers put encoded words into the parameter, against RFC 2047
    return safe_name(decode_line(part.get_filename() or ""))


def _status(blocks: list[Message]) -> bytes:
    texts = (
        "".join(f"{name}: {decode_line(str(value))}\n" for name, value in block.items()) for block in blocks
    )
    return "\n".join(texts).encode("utf-8", "replace")
