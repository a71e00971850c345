"""Where one user's mixmail lives: a folder that only he can enter, and the socket of its daemon."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from mixmail.errors import UserError

SOCKET_PATH_LIMIT = 100
"""Bytes: the systems end socket paths at 104 or 108, and the server adds a lock file beside it."""


@dataclass(frozen=True, slots=True)
class Home:
    """A home folder; nothing is created before `create`."""

    folder: Path

    @classmethod
    def at(cls, path: str | os.PathLike[str] | None = None) -> Home:
        """The home at `path`, else MIXMAIL_HOME, else the user's data folder."""
        name = path or os.environ.get("MIXMAIL_HOME") or platformdirs.user_data_path("mixmail")
        return cls(Path(name).expanduser().absolute())

    @property
    def socket(self) -> Path:
        """The control socket: in the home, or in the runtime folder where that path is too long."""
        name = self.folder / "control.sock"
        if len(os.fsencode(name)) <= SOCKET_PATH_LIMIT:
            return name
        short = hashlib.blake2b(os.fsencode(self.folder), digest_size=8).hexdigest()
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        folder = Path(runtime) / "mixmail" if runtime else Path("/tmp") / f"mixmail-{os.getuid()}"
        return folder / f"{short}.sock"

    @property
    def log(self) -> Path:
        """What a daemon that was started in the background prints."""
        return self.folder / "node.log"

    def create(self) -> None:
        """Make the folder (0700).  UserError "home" if that is impossible."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The folder {self.folder} cannot be made ({error.strerror}): choose another with --home.",
                "home",
            ) from error
