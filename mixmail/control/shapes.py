"""The daemon's values as the shapes of the control API (`types`)."""

from __future__ import annotations

from typing import Any

from mixmail.agent.events import MailState
from mixmail.agent.losses import NodeLoss
from mixmail.agent.model import Contact, Person
from mixmail.agent.tables import Row
from mixmail.control import types


def delivery_estimate(params: Any) -> float:
    """Seconds from send to shown for a contact with recent traffic: a write slot, a poll, two ways."""
    write = params.slot * params.slot_shares / params.write_share
    polls = 1 - (params.write_share + params.follow_share) / params.slot_shares
    poll = params.slot / (polls * params.hot_weight * (1 - params.next_index_poll))
    way = params.mixes * params.mix_delay + params.courier_delay_fraction * params.mean_delay
    return float(write + poll + 3 * way)


def lossy(one: NodeLoss) -> types.LossyNode:
    """A node that loses packets, as the status tells it."""
    return types.LossyNode(
        node_id=one.node_id.hex(), loss=one.loss, low=one.low, high=one.high, queries=one.queries
    )


def identity(person: Person) -> types.Identity:
    """An own identity."""
    return types.Identity(id=person.id, name=person.name, address=person.id, archived=person.archived)


def contact(contact: Contact) -> types.Contact:
    """A contact."""
    return types.Contact(
        id=contact.id,
        name=contact.name,
        address=contact.id,
        last_traffic=contact.last_traffic or None,
        state="blocked" if contact.blocked else "request" if contact.request else "known",
    )


def summary(row: Row) -> types.MailSummary:
    """One row of a mail list, from its row of the profile."""
    return types.MailSummary(
        id=row["id"],
        folder=row["folder"],
        contact=row["contact"] or None,
        contact_name=row["contact_name"],
        subject=row["subject"],
        date=row["date"],
        size=row["size"],
        unread=bool(row["unread"]),
        state=row["state"],
        sent_parts=row["sent_parts"],
        parts=row["parts"],
        stored_min=row["stored_min"],
        replicas=row["replicas"],
        in_reply_to=row["in_reply_to"] or None,
        note=row["note"],
        attachments=row["attachments"] or 0,
    )


def state_event(event: MailState) -> types.MailStateEvent:
    """How far an own mail has come."""
    return types.MailStateEvent(
        id=event.mail,
        state=event.state,  # type: ignore[arg-type]
        sent_parts=event.sent_parts,
        parts=event.parts,
        stored_min=event.stored_min,
        replicas=event.replicas,
        note=event.note,
    )
