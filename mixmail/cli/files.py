"""Files on their way into and out of mails."""

from __future__ import annotations

import mimetypes
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from mixmail.cli import plain
from mixmail.control import types
from mixmail.errors import UserError

TYPES = mimetypes.MimeTypes(filenames=())
"""The built-in table only: the machine's own tables tell something about it."""

NAME_BYTES = 255
"""What the usual file systems take."""

# controls, bidi and other invisible format characters, halves of characters, private use, line breaks
_DECEIVING = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"


def read(path: str, what: str) -> bytes:
    """A file's bytes.  UserError "file"."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"The {what} {path} cannot be read ({error.strerror}): check the name.", "file"
        ) from error


def attachments(paths: Sequence[str]) -> list[types.Attachment]:
    """The files as attachments; only their last names leave, never a path."""
    return [
        types.Attachment(
            name=Path(path).name,
            type=TYPES.guess_type(path)[0] or "application/octet-stream",
            data=read(path, "file"),
        )
        for path in paths
    ]


def safe_name(name: str) -> str:
    """`name` if it can only be a file in the folder chosen by the user; UserError "unsafe-name" else."""
    bad = (
        not name
        or name.startswith((".", "-"))
        or any(mark in name for mark in ("/", "\\", "\0"))
        or any(unicodedata.category(mark) in _DECEIVING and mark not in _JOINERS for mark in name)
        or len(os.fsencode(name)) > NAME_BYTES
        or (len(name) > 1 and name[1] == ":")
    )
    if bad:
        shown = plain.line(name, 60)
        raise UserError(
            f"The sender's file name {shown!r} is not a plain name: nothing was saved; "
            "see the list in `mixmail read` and choose with --attachment and --as.",
            "unsafe-name",
        )
    return name


def targets(folder: Path, names: Sequence[str]) -> list[Path]:
    """Where the attachments go: checked before anything is written.

    Equal names get their number.  UserError "unsafe-name", or "exists" for a file that is there.
    """
    paths: list[Path] = []
    for name in names:
        path = folder / safe_name(name)
        number = 2
        while path in paths:
            path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
            number += 1
        paths.append(path)
    for path in paths:
        if path.is_symlink() or path.exists():
            raise UserError(f"{path} is there already: nothing was saved; choose another folder.", "exists")
    return paths


def make_folder(folder: Path) -> None:
    """Make the folder where it is missing.  UserError "file"."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}): choose another folder.", "file"
        ) from error


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, readable for the user alone.  UserError "exists", "file"."""
    made = False
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        made = True
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise UserError(f"{path} is there already: choose another folder.", "exists") from error
    except OSError as error:
        if made:  # the disk ran full: half a file is worse than none
            path.unlink(missing_ok=True)
        raise UserError(
            f"{path} cannot be written ({error.strerror}): make room or choose another folder.", "file"
        ) from error
