"""Hostile storers of the exact path: they speak the shipping protocol and keep no box that they are given.

They acknowledge all writes, since that is the harm they can do: what is refused goes to the next home.
"""

from __future__ import annotations

import dataclasses

from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import EMPTY_FIELD, Record
from mixmail.boxes.status import Status
from mixmail.effects import Effect, Frame, Send
from mixmail.lab.churn.setting import Kind
from mixmail.node.wire import HomeQuery, HomeReply, pack_items, parse_items
from mixmail.node.wire import Kind as Message
from mixmail.params import ID_BYTES
from mixmail.randomness import Randomness

LIES = 64  # records that a liar offers at a time, none of which exists


class Storer:
    """A storer of the kinds DROP, LIE and OLD.  (FORGET is a shipping one whose store is emptied.)"""

    def __init__(self, kind: Kind, rng: Randomness) -> None:
        self._kind = kind
        self._rng = rng
        self._seen: dict[bytes, Record] = {}  # what a LIE or OLD answers is made of these

    def handle_frame(self, peer: bytes, frame: Frame) -> list[Effect]:
        """Answer what an honest home would answer."""
        if frame.kind == Message.HOME_QUERY:
            reply = self._reply(HomeQuery.parse(frame.payload))
            return [Send(peer, Frame(Message.HOME_REPLY, frame.stream, reply.pack()))]
        if self._kind is Kind.LIE and frame.kind == Message.OFFER:
            wanted = parse_items("offer", frame.payload)  # have all of it sent, and throw it away
            return [Send(peer, Frame(Message.NEED, 0, pack_items(wanted))), *self._false_offer(peer)]
        return []

    def _reply(self, query: HomeQuery) -> HomeReply:
        if query.op is QueryOp.WRITE:
            record = Record.parse(query.field)
            if self._kind is not Kind.DROP:
                self._seen[record.key] = record
            return HomeReply(Status.OK if self._kind is Kind.LIE else Status.STORED, 0, EMPTY_FIELD)
        seen = self._seen.get(query.field[:ID_BYTES])
        if seen is None:
            return HomeReply(Status.NOT_FOUND, 0, EMPTY_FIELD)
        if self._kind is Kind.LIE:
            forged = dataclasses.replace(seen, c=bytes([seen.c[0] ^ 1]) + seen.c[1:])
        else:
            forged = dataclasses.replace(seen, day=seen.day - 1)
        return HomeReply(Status.OK, 1, forged.pack())

    def _false_offer(self, peer: bytes) -> list[Effect]:
        items = [(self._rng.bytes(ID_BYTES), self._rng.bytes(8)) for _ in range(LIES)]
        return [Send(peer, Frame(Message.OFFER, 0, pack_items(items)))]
