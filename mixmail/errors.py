"""The errors of the project.

`RemoteProtocolError`: bytes from outside broke a rule; the sender is at fault and
only that message is lost.  `LocalProtocolError`: our own code asked for something the
protocol does not allow.  `UserError`: a person has to do something; its text is one
sentence that says what happened and what to do.
"""

from __future__ import annotations


class MixmailError(Exception):
    """Base of every error that mixmail raises on purpose."""


class RemoteProtocolError(MixmailError):
    """Bytes from the network do not follow the protocol."""


class ForeignNetwork(RemoteProtocolError):
    """A peer of another network, or of one with other parameters: misled rather than hostile."""


class LocalProtocolError(MixmailError):
    """Our own code asked for something that the protocol does not allow."""


class UserError(MixmailError):
    """One sentence for the user: what happened and what to do.

    `code` is the word by which the control API and the command line tell such errors apart.
    """

    def __init__(self, message: str, code: str = "refused") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
