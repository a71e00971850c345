"""Endpoint strings: where a node listens and how others reach it.

The strings of other nodes come out of descriptors, and Twisted would also open a unix socket, a file or a
process for the string that says so.  So only the forms below are ever handed to it.
"""

from __future__ import annotations

import ipaddress
import re

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IReactorCore, IStreamClientEndpoint, IStreamServerEndpoint

from mixmail.errors import RemoteProtocolError, UserError

LONGEST = 300
# A colon inside an IPv6 address is written "\:", as everywhere in endpoint strings.
_TCP_CLIENT = re.compile(r"tcp:host=((?:[0-9A-Za-z.-]|\\:)+):port=([0-9]{1,5})")


def client_endpoint(reactor: IReactorCore, text: str) -> IStreamClientEndpoint:
    """The endpoint for `tcp:host=IP:port=PORT`; RemoteProtocolError for anything else.

    A number and no name: looking a name up would tell a name server whom we talk to.
    """
    match = _TCP_CLIENT.fullmatch(text) if len(text) <= LONGEST else None
    if match is None or not 1 <= int(match[2]) <= 0xFFFF:
        raise RemoteProtocolError("endpoint of an unknown form")
    try:
        ipaddress.ip_address(match[1].replace("\\:", ":"))
    except ValueError as error:
        raise RemoteProtocolError("an endpoint needs an IP address, not a name") from error
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
