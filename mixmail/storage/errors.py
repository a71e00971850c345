"""What can go wrong with the files of a home, each as one sentence for the user."""

from __future__ import annotations

from pathlib import Path

from mixmail.errors import UserError


class StorageError(UserError):
    """Base of the errors of this package."""


class Damaged(StorageError):
    """A database cannot be read."""

    def __init__(self, path: Path, cause: object) -> None:
        super().__init__(
            f"The database {path} is damaged or not mixmail's ({cause}): "
            "put a backup in its place, or move it away to start with an empty one.",
            code="database",
        )


class DiskFull(StorageError):
    """Nothing more can be written.  What was written stays and can be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The disk with {path} is full: nothing was lost, free some space and it goes on.",
            code="disk-full",
        )


class DiskError(StorageError):
    """The operating system refused to read or write."""

    def __init__(self, path: Path, cause: object) -> None:
        super().__init__(
            f"{path} cannot be read or written ({cause}): check the disk and the file's permissions.",
            code="disk",
        )


class Busy(StorageError):
    """Another program holds the database."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Another program uses {path}: stop it and try again.", code="busy")


class Newer(StorageError):
    """A newer mixmail has written the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} was written by a newer version of mixmail: install that version to open it.",
            code="newer",
        )


class KeyFileError(StorageError):
    """The file with the profile's key is missing, damaged, or there when it should not be."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"The key file {path} {what}.", code="key")


class WrongPassphrase(StorageError):
    """The passphrase does not open the key file."""

    def __init__(self) -> None:
        super().__init__("The passphrase is wrong: try again.", code="passphrase")


class NeedsPassphrase(StorageError):
    """The key file is sealed."""

    def __init__(self) -> None:
        super().__init__("The profile is locked: give its passphrase.", code="locked")
