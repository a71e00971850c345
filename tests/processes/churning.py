"""Mails between people whose nodes lose packets, and are killed and started again meanwhile.

Every node is a process of its own, some of them belong to the people.  A person whose daemon has gone away
while a mail was handed in looks whether it was taken, and hands it in again if not.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable
from math import inf
from pathlib import Path

from real_network import Person
from waiting import wait_for

from mixmail.control import types
from mixmail.daemon import devnet
from mixmail.daemon.home import NodeConfig, NodeHome
from mixmail.errors import UserError

LOSSY = Path(__file__).parent / "lossy_daemon.py"
PAGE = 50
PARTNER = "partner"
HELLO = ("hello", "hello back")
WINDOW = 8  # mails of one person in the outbox at a time
PAUSE = 0.5
HELLO_LIMIT = 600.0  # seconds: a first mail needs a dozen queries one after the other


class Correspondent:
    """A person who writes `subjects` to the contact PARTNER."""

    def __init__(self, person: Person, subjects: list[str]) -> None:
        self.person = person
        self.planned = deque(subjects)
        self.unsure: list[str] = []  # handed in, but nobody said that they were taken
        self.taken: dict[str, float] = {}  # subject: when
        self.arrived: dict[str, float] = {}  # at this person, from the other

    def subjects(self, folder: types.Folder) -> list[str]:
        """Of all mails in a folder."""
        found: list[str] = []
        while True:
            start = len(found)
            page = self.person.ask(lambda client, at=start: client.mail_list(folder, at, PAGE)).mails  # type: ignore[misc]
            found += [row.subject for row in page]
            if len(page) < PAGE:
                return found

    def step(self) -> None:
        """Write what fits into the outbox, and look at the inbox; UserError while the daemon is away."""
        now = time.monotonic()
        for subject in self.subjects("inbox"):
            if subject not in HELLO:
                self.arrived.setdefault(subject, now)
        if not self.planned and not self.unsure:
            return
        outbox = self.subjects("outbox")
        if self.unsure:
            known = {*outbox, *self.subjects("sent")}
            self.planned.extendleft(subject for subject in self.unsure if subject not in known)
            self.taken |= {subject: now for subject in self.unsure if subject in known}
            self.unsure = []
        for _ in range(min(WINDOW - len(outbox), len(self.planned))):
            subject = self.planned.popleft()
            self.unsure.append(subject)
            self.person.send(PARTNER, subject, f"This is {subject}.\n")
            self.unsure.pop()
            self.taken[subject] = time.monotonic()


def planned(mails: int, people: int, person: int) -> list[str]:
    """The subjects that one of the people writes to the partner."""
    return [f"mail {person}-{number}" for number in range(person, mails, people)]


def faults(inboxes: list[list[str]], mails: int) -> list[str]:
    """What is not once in the inbox of the writer's partner, and nowhere else; empty if all is well."""
    people = len(inboxes)
    places = Counter((at, subject) for at, inbox in enumerate(inboxes) for subject in inbox)
    wanted = {
        (writer ^ 1, subject)
        for writer in range(people)
        for subject in (*planned(mails, people, writer), HELLO[writer % 2])
    }
    found = [f"{subject} is missing in inbox {at}" for at, subject in sorted(wanted - places.keys())]
    found += [f"{subject} is in inbox {at}" for at, subject in sorted(places.keys() - wanted)]
    return found + [
        f"{what[1]} is {count} times in inbox {what[0]}" for what, count in places.items() if count > 1
    ]


class Churn:
    """A network of `nodes`, `senders` of them people: two and two write to each other."""

    def __init__(
        self,
        folder: Path,
        nodes: int,
        senders: int,
        mails: int,
        seed: int,
        losses: tuple[float, float],
        slower: float = 1.0,
    ) -> None:
        self._rng = random.Random(seed)
        self._how = [str(number) for number in (*losses, slower)]  # of lossy_daemon.py
        self.mails = mails
        self.kills = 0
        devnet.create(folder, nodes)
        NodeHome(folder / "echo").write_config(NodeConfig())
        self.people = [Person(folder / name) for name in devnet.names(nodes)]
        # people, seeds and others alike are killed; people are drawn, so that some are seeds
        self.writers = [
            Correspondent(person, planned(mails, senders, number))
            for number, person in enumerate(self._rng.sample(self.people, senders))
        ]

    def start(self) -> None:
        """Start all; partners get to know each other by a mail and its answer, as people do.

        (Whom a user has never answered is a stranger, whose boxes are read last.)
        """
        for person in self.people:
            self._spawn(person)
        for person in self.people:
            person.answers()
        addresses = [
            one.person.ask(lambda client, n=number: client.identity_create(f"Person {n}")).address  # type: ignore[misc]
            for number, one in enumerate(self.writers)
        ]
        for number, one in enumerate(self.writers):
            address = addresses[number ^ 1]
            one.person.ask(lambda client, a=address: client.contact_add(a, PARTNER))  # type: ignore[misc]
        for one in self.writers[::2]:
            one.person.send(PARTNER, HELLO[0], "Hello!\n")
        for one in self.writers[1::2]:
            (mail,) = wait_for(
                lambda who=one: who.person.folder("inbox"), "the first mail arrives", HELLO_LIMIT
            )  # type: ignore[misc]
            one.person.send(PARTNER, HELLO[1], "Hello back!\n", mail.id)
        for one in self.writers[::2]:
            wait_for(lambda who=one: who.person.folder("inbox"), "the answer arrives", HELLO_LIMIT)  # type: ignore[misc]

    def _spawn(self, person: Person) -> None:
        person.spawn(str(LOSSY), str(person.home.folder), *self._how)

    def kill_one(self) -> None:
        """SIGKILL to a random node, which is started again at once."""
        person = self._rng.choice(self.people)
        person.kill()
        self._spawn(person)
        self.kills += 1

    def run(self, kill_every: float, limit: float, say: Callable[[str], None], kills: float = inf) -> bool:
        """Write, kill (at most so often) and wait until all has arrived; False after `limit` seconds."""
        begun = told = time.monotonic()
        next_kill = begun + kill_every
        while self.arrived < self.mails:
            now = time.monotonic()
            if now > begun + limit:
                return False
            if now >= next_kill and self.kills < kills:
                self.kill_one()
                next_kill += kill_every
            for one in self.writers:
                self._step(one)
            if now >= told + 30:
                told = now
                say(f"{now - begun:.0f} s: {self.taken} written, {self.arrived} arrived, {self.kills} kills")
            time.sleep(PAUSE)
        return True

    def _step(self, one: Correspondent) -> None:
        try:
            one.step()
        except UserError as error:
            # Away: killed a moment ago.  Whoever does not come back has left a traceback in its log.
            assert error.code in ("no-daemon", "no-answer", "connection-lost"), error
            process = one.person.process
            assert process is not None and process.poll() is None, one.person.words()

    @property
    def taken(self) -> int:
        return sum(len(one.taken) for one in self.writers)

    @property
    def arrived(self) -> int:
        return sum(len(one.arrived) for one in self.writers)

    def calm_down(self, limit: float) -> None:
        """No more kills: wait until all answer and every outbox is empty."""
        for one in self.writers:
            one.person.answers()
        wait_for(
            lambda: not any(one.subjects("outbox") for one in self.writers), "the outboxes are empty", limit
        )

    def wrong(self) -> list[str]:
        """What `faults` finds in the inboxes."""
        return faults([one.subjects("inbox") for one in self.writers], self.mails)

    def waits(self) -> list[float]:
        """Seconds from the outbox to the inbox, of each mail that arrived, sorted."""
        taken = {subject: when for one in self.writers for subject, when in one.taken.items()}
        arrived = {subject: when for one in self.writers for subject, when in one.arrived.items()}
        return sorted(arrived[subject] - taken[subject] for subject in arrived.keys() & taken.keys())

    def close(self) -> None:
        """End everything that was started here."""
        for person in self.people:
            if person.process is not None and person.process.poll() is None:
                person.process.terminate()
        for person in self.people:
            if person.process is not None:
                person.stop()
