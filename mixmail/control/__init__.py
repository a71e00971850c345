"""The local API between the daemon and its clients: a unix socket that speaks JSON-RPC 2.0.

`types` has the shapes, `codec` the lines, `client` the asyncio side (terminal UI, command line),
`server` the Twisted side, `backend` what the server asks of the daemon, `memory` both sides in one
process.  This module imports nothing, so that a client never loads Twisted.
"""
