"""Endpoint strings: where a node listens and how others reach it.

The strings of other nodes come out of descriptors, and Twisted would also open a unix socket, a file or a
process for the string that says so.  So only the forms below are ever handed to it.
"""

from __future__ import annotations

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IReactorCore, IStreamClientEndpoint, IStreamServerEndpoint

from mixmail.directory.endpoint import tcp_endpoint
from mixmail.errors import RemoteProtocolError, UserError


def client_endpoint(reactor: IReactorCore, text: str) -> IStreamClientEndpoint:
    """The endpoint for `tcp:host=IP:port=PORT`; RemoteProtocolError for anything else.

    A number and no name: looking a name up would tell a name server whom we talk to.
    """
    if tcp_endpoint(text) is None:
        raise RemoteProtocolError("endpoint of an unknown form, or with a name and no IP address")
    endpoint: IStreamClientEndpoint = clientFromString(reactor, text)
    return endpoint


def server_endpoint(reactor: IReactorCore, text: str, backlog: int) -> IStreamServerEndpoint:
    """The endpoint for the user's `tcp:PORT:interface=ADDRESS`; UserError "endpoint" if it is not one.

    `backlog`: connections that wait in the kernel, unless the text says how many.
    """
    try:
        if not text.startswith("tcp:"):
            raise ValueError("it must begin with tcp:")
        if ":backlog=" not in text:
            text += f":backlog={backlog}"
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{text!r} is not an address to listen on ({error}): write it as tcp:4001:interface=0.0.0.0.",
            code="endpoint",
        ) from error
    return endpoint
