"""Every size, rate, delay and count of a mixmail network.

No other module writes such a number.  The byte geometry is the same on all networks of protocol
version 1; `NetworkParameters` is one value for everybody on a network, and its hash is in every
descriptor and link handshake, so that two networks never mix by accident.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

PROTOCOL_VERSION = 1
ID_BYTES = 32
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes in bytes of everything that crosses a wire."""

    # packet (docs/protocol/packet.md)
    packet: int = 32_768
    kem_public: int = 1_216
    kem_ct: int = 1_120
    command: int = 64
    max_hops: int = 5
    mac: int = 16
    body_tag: int = 32
    # records (docs/protocol/boxes.md)
    record: int = 17_334
    meta: int = 8
    stamp: int = 32
    aead_tag: int = 16
    hpke_overhead: int = 1_136
    # directory (docs/protocol/directory.md)
    descriptor_fields: int = 216  # the fixed fields before the endpoint
    endpoint: int = 128
    published_epochs: int = 3  # keys for so many epochs stand in a descriptor
    signature: int = 64
    # links
    frame_header: int = 32
    message_frames: int = 32  # of one message between nodes: bounds the memory that a peer can take

    @property
    def block(self) -> int:
        """One routing block: command and the next hop's KEM ciphertext (1184)."""
        return self.command + self.kem_ct

    @property
    def routing(self) -> int:
        """All routing blocks (5920)."""
        return self.max_hops * self.block

    @property
    def header(self) -> int:
        """version | kem_ct | routing | mac (7057)."""
        return 1 + self.kem_ct + self.routing + self.mac

    @property
    def body(self) -> int:
        """What the wide-block cipher covers (25711)."""
        return self.packet - self.header

    @property
    def payload(self) -> int:
        """User data of a packet (25679)."""
        return self.body - self.body_tag

    @property
    def surb(self) -> int:
        """first hop | header | k0 (7121)."""
        return ID_BYTES + self.header + 32

    @property
    def box_ct(self) -> int:
        """The ciphertext field of a record (17198)."""
        return self.record - 32 - 64 - self.meta - self.stamp

    @property
    def box_text(self) -> int:
        """Padded plaintext of a box (17182)."""
        return self.box_ct - self.aead_tag

    @property
    def query(self) -> int:
        """ver | op | flags u16 | reply key | record-shaped field (17370)."""
        return 4 + 32 + self.record

    @property
    def blob(self) -> int:
        """A sealed query (18506)."""
        return self.query + self.hpke_overhead

    @property
    def reply_ct(self) -> int:
        """AEAD(status u8 | n u8 | acks u32 | record) (17356)."""
        return 6 + self.record + self.aead_tag

    @property
    def descriptor(self) -> int:
        """fields | endpoint | mix keys | proxy keys | signature (7704)."""
        keys = 2 * self.published_epochs * self.kem_public
        return self.descriptor_fields + self.endpoint + keys + self.signature

    @property
    def hello(self) -> int:
        """The first message on a link: descriptor | the sender's unix time in ms, u64 (7712)."""
        return self.descriptor + 8

    @property
    def frame(self) -> int:
        """One link frame (32800)."""
        return self.frame_header + self.packet

    @property
    def message(self) -> int:
        """The longest message between two nodes, before it is cut to frames (1 MiB)."""
        return self.message_frames * self.packet


GEOMETRY = Geometry()


@dataclass(frozen=True, slots=True)
class NetworkParameters:
    """One value for everybody on a network; times in seconds unless the name says otherwise."""

    name: str
    # mixing (docs/protocol/packet.md, "Mixing")
    slot: float
    mean_delay: float
    tick: float
    pool_min: int
    delay_law: str = "spacings"  # or "exponential": see mixing/delays.py, docs/decisions.md
    delay_sum: float = 8.0  # "spacings": the six mix delays of a query add up to this many means
    delay_cut: float = 10.0  # delays are cut at this many means
    courier_delay_fraction: float = 1 / 6  # courier and proxy delay: Exp(mean_delay * this)
    mixes: int = 3
    held_loops: float = 1.0  # mean number of own loops that a mix adds at a held tick
    loop_slots: float = 2.1  # a mix sends an own loop every so many slots ...
    loop_jitter: float = 0.1  # ... give or take this share of them
    alarm_slots: float = 5.0  # no own loop came in for so many slots: the mix holds ...
    alarm_give_up_slots: float = 30.0  # ... and after so many it tells its user and drops what it held
    alarm_window: int = 16  # the alarm is armed only while of so many last loops ...
    alarm_lost: int = 2  # ... at most so many got lost
    layered_from: int = 8  # other nodes needed for paths through layers ...
    layer_min: int = 2  # ... and other nodes needed in each layer
    route_min: int = 2  # fewer other nodes: no packet is sent at all
    layers_by_hash_from: int = 48  # fewer mixes than this: layer = rank mod 3
    held_packet_limit: float = 600.0
    replay_capacity: int = 5_000_000
    # queries
    rto: float = 1_500.0
    write_share: int = 1  # of slot_shares slots; the rest polls
    follow_share: int = 1
    slot_shares: int = 4
    hot_weight: float = 1 / 16
    hot_max: int = 6
    hot_age: float = 2 * DAY
    warm_weight: float = 1 / 64
    warm_max: int = 20
    warm_age: float = 30 * DAY
    cold_weight: float = 1 / 512
    cold_max: int = 100
    inbox_weight: float = 1 / 32
    old_inbox_weight: float = 1 / 64  # the queue before the newest one
    handover_weight: float = 1 / 64  # added to it for `inbox_handover` seconds after the newest was opened
    inbox_handover: float = 7_200.0
    older_inbox_weight: float = 1 / 64  # all others together
    cover_streams: int = 8
    cover_step: float = float(DAY)
    next_index_poll: float = 1 / 4
    follow_wait_slots: float = 20.0
    # store (docs/protocol/boxes.md)
    replicas: int = 28  # at most 32: an answer has so many bits (docs/protocol/store.md, "Churn")
    write_acks: int = 6
    write_tries: int = 32
    quorum: int = 5
    read_homes: int = 2
    home_timeout: float = 5.0
    classes_days: tuple[int, ...] = (7, 30, 90)
    queue_limit: int = 256
    stamp_memory: int = 8 * 2**20
    box_bits: int = 4
    stranger_bits: int = 11
    max_bits: int = 24
    asked_bits_max: int = 12  # homes ask for no more, writers do no more: 17 s of a core on the average
    asked_from_fill: float = 0.5  # of its quota: from here on a home asks for more than `box_bits`
    # people
    prekey_days: int = 7
    prekey_keep_days: int = 37
    mail_limit: int = 1_000_000  # bytes of one mail; larger ones await attachments (issue "Attachments")
    mail_class: int = 30
    # directory
    epoch: int = DAY
    epoch_early: float = 600.0
    epoch_late: float = 7_200.0
    clock_skew: float = 600.0  # clocks further apart than `epoch_early` would use keys not yet accepted
    puzzle_memory: int = 64 * 2**20
    puzzle_passes: int = 2
    puzzle_bits: int = 8
    puzzle_days: int = 90
    descriptor_days: int = 1  # a descriptor is valid from its day on for so many more days
    gossip_interval: float = 600.0
    gossip_peers: int = 3
    link_idle: float = 3_600.0
    link_timeout: float = 30.0
    link_queue: int = 256  # frames waiting for one link; beyond it the newest is dropped
    anonymous: bool = True

    def hash(self) -> bytes:
        """32 bytes over every field, in the order of the class."""
        text = "\n".join(f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
        return hashlib.blake2b(text.encode(), digest_size=32, person=b"mm1.params").digest()

    def quorum_of(self, eligible: int) -> int:
        """Acks that make a write "stored": min(5, floor(R/2)+1) with R = min(28, eligible)."""
        return min(self.quorum, min(self.replicas, eligible) // 2 + 1)

    @property
    def mix_delay(self) -> float:
        """The mean time in one mix: under the law of spacings a sixth of the sum."""
        spacings = self.delay_law == "spacings"
        return self.mean_delay * (self.delay_sum / (2 * self.mixes) if spacings else 1.0)

    @property
    def delay_max(self) -> float:
        """The longest delay a mix accepts."""
        return self.delay_cut * self.mean_delay


MAIL = NetworkParameters(name="mail", slot=30.0, mean_delay=60.0, tick=2.0, pool_min=6)

CHAT = NetworkParameters(
    name="chat",
    slot=5.0,
    mean_delay=10.0,
    tick=1 / 3,
    pool_min=6,
    rto=250.0,
    gossip_interval=120.0,
)

DEMO = NetworkParameters(
    name="demo",
    slot=0.25,
    mean_delay=0.125,
    tick=0.025,
    pool_min=1,
    rto=10.0,
    hot_weight=1 / 2,
    hot_max=1,
    inbox_weight=3 / 8,
    old_inbox_weight=1 / 32,
    home_timeout=1.0,
    box_bits=0,
    stranger_bits=2,
    asked_bits_max=2,
    puzzle_memory=2**20,
    puzzle_passes=1,
    puzzle_bits=1,
    gossip_interval=5.0,
    link_timeout=10.0,
    anonymous=False,
)

PRESETS = {preset.name: preset for preset in (MAIL, CHAT, DEMO)}


@dataclass(frozen=True, slots=True)
class Network:
    """Which network a node is on: its random id, its birth day and its parameters."""

    network_id: bytes
    birth_day: int
    parameters: NetworkParameters

    @property
    def hash(self) -> bytes:
        """BLAKE2b-256(id | birth day): stays the same when the parameters change."""
        return hashlib.blake2b(self.network_id + self.birth_day.to_bytes(2, "big"), digest_size=32).digest()


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """Bounds of one node's own memory and work.  No part of a network's parameters: nobody else notices."""

    look_ahead: int = 4  # unread indices of a stream that a poll may pass over
    unfinished_mails: int = 8  # of one session, in memory and on disk
    lookup_doublings: int = 10  # of the wait between looks for a profile that is not there
    stamp_chunk: int = 64  # attempts at a stamp in one job, so that a long search leaves the thread
    puzzle_chunk: int = 16  # attempts at the own puzzle in one job
    proofs: int = 4  # identity puzzles checked at the same time; the others come again with the gossip
    jobs: int = 512  # store and stamp jobs outstanding; beyond it homes say TRY_LATER
    # A home's checks of stamps.  One Argon2id over 8 MiB took 4.1 ms of a core in the median, 5.4 ms in the
    # 95th percentile (n = 300), 6.3 ms beside other work (n = 30).
    stamp_check_cost: float = 0.006  # seconds of a core
    stamp_core_share: float = 0.2  # what the checks may take of a core
    stamp_memory_s: float = 10.0  # the budget's time constant: 333 checks at once, 2 s of a core
    stamp_askers: int = 4_096  # peers of which the budget knows what they had
    # What a node takes from others a second, shared out by who asks; a usual node of a full `mail` network
    # gets some 0.2 queries as a proxy and 1 as a home.
    home_queries_per_s: float = 512.0  # by proxies: one alone comes to half of them, at 1 ms each
    home_queries_memory_s: float = 1.0  # half of `jobs` for one proxy at once
    proxy_queries_per_s: float = 128.0  # by couriers
    proxy_queries_memory_s: float = 2.0
    unwrap_batch: int = 32  # packets that a worker process opens in one go: 1 MB, some 4 ms
    unwrap_waiting: int = 512  # packets that wait for a worker process, 33 KB each; none without workers
    # The pools: a usual node of a full network holds about 16 packets in its mix.  Together with the two
    # lines after them they bound what strangers can make a node keep to 60 MB, beside the replay tags: 114
    # bytes each, of `replay_capacity` half by one link, for each live epoch of mix and proxy.
    mix_pool: int = 640  # 33 KB each
    courier_pool: int = 384  # 26 KB each
    proxy_pool: int = 384  # 17 KB each
    courier_pending: int = 1_024  # 7 KB each: queries whose answer a courier waits for
    proxy_queries: int = 256  # 40 KB each: queries a proxy works on at the same time
    proxy_rounds: int = 4  # home timeouts after which a proxy answers with what it knows
    loss_queries: int = 2_048  # ended queries from which losses of nodes are estimated: 17 hours in `mail`
    loss_half_life: float = 1_000.0  # queries after which one counts half
    loss_error: float = 0.001  # chance to name any honest node at one look
    loss_least: float = 0.05  # a smaller loss is nobody's fault that a user could do something about
    read_back_share: float = 0.1  # of the stored writes that are read back by another way
    read_back_tries: int = 8  # queries of one read-back that may get lost before it is given up
    checked_words: int = 256  # of proxies, checked by read-backs, that an agent remembers
    loss_look: int = 200  # ended queries between two looks at which nodes lose packets, for whom to avoid
    loops: int = 4_096  # own loops on their way
    push_batch: int = 4  # descriptors in one PUSH: fills one link frame
    want_batch: int = 256  # descriptors handed out for one WANT
    peer_clocks: int = 256  # of the last peers, remembered to tell whether the own clock is wrong
    heard_revisions: int = 16  # descriptors of one node that a view knows it has heard
    link_batch: int = (
        8  # frames handed to TLS or read at once: 262 KB, beyond which larger steps gain nothing
    )
    quota: int = 2 * 10**9  # bytes that a home keeps for others, unless its owner says otherwise
    quota_min: int = 2 * 10**6  # a hundred records
    housekeeping: float = 3_600.0  # between two expiry rounds of the store
    store_rows: int = 50  # that one job of expiry or repair reads or drops, so that others come in between
    thread_turn: float = 0.0005  # seconds until a thread that computes lets another one in
    # repair between homes (docs/protocol/store.md, "Repair")
    repair_sweep_slots: float = 240.0  # one sweep through the store: 2 hours in `mail`
    repair_step_slots: float = 4.0  # between two parts of a sweep ...
    repair_chunk: int = 256  # ... of so many records: to rank their homes among 1,000 nodes takes 0.3 s
    repair_peers: int = 4  # random nodes that are offered all they should have in one sweep
    repair_share: float = 1.0  # of the homes of a record that offer it to a new home
    repair_hands: int = 2  # homes to which a record goes whose holder is no home of it
    repair_forward_slots: float = 10.0  # mean wait before a client's new record is handed on
    repair_per_slot: float = 4.0  # messages of repair that leave in a slot at most: 4.4 KB/s in `mail`
    repair_queue: int = 4_096  # of them that wait
    repair_offered: int = 64  # peers of which it is known what they were offered
    offer_items: int = 800  # records in one OFFER
    offers_per_s: float = 1.0  # OFFERs looked up on the average, of all peers
    offer_cost: float = (
        0.1  # seconds of the database's thread for a full one (measured, n = 10: 98 to 203 ms)
    )
    offers_memory_s: float = 10.0  # so a burst keeps readers waiting for a second, one peer's for half of it
    records_per_s: float = (
        64.0  # RECORDs looked at on the average, of all peers: 1.2 ms each among 1,000 nodes
    )
    leaving_per_s: float = 32.0  # records that a leaving node hands over in a second: 1 MB/s
    # links (docs/protocol/links.md, "Limits")
    link_inbox: int = 2 * GEOMETRY.frame  # bytes that a link may have waiting; more and it is not read
    link_records: int = 64  # TLS records for one frame: each costs a call, 3 are enough
    link_turn: int = 32  # wire frames taken in one turn of the reactor: 10 ms, so timers are not late
    link_stranger: int = 4  # of so many frames one is a stranger's, when known nodes have some as well
    link_handshakes: int = 16  # callers that may begin TLS in one turn: 11 ms if all do
    link_backlog: int = 4_096  # connections that wait in the kernel; if it is full, an honest peer waits 1 s
    link_pending: int = 256  # callers that have not said who they are: 62 KB each in OpenSSL
    link_callers: int = 2_048  # links that others opened, up: 128 MB in OpenSSL at most
    link_same_peer: int = 2  # links to one peer, as both may call at once; a third one ends the oldest
    link_memory: int = 16 * 2**20  # bytes that wait in all links together, both ways: two full queues
    link_address_burst: int = 32  # connections from one address at once: a house with many nodes restarts
    link_address_refill: float = 1.0  # seconds until it may come once more
    link_peer_burst: int = 8  # HELLOs of one node at once
    link_peer_refill: float = 10.0  # seconds until it may come once more
    link_remembered: int = 4_096  # addresses and nodes of which it is known when they came
    link_log_burst: int = 8  # lines about ended links of one kind at once
    link_log_refill: float = 60.0  # seconds until there may be one more; what was left out is counted

    @property
    def stamp_checks(self) -> float:
        """Stamps that a home checks a second, on the average (33)."""
        return self.stamp_core_share / self.stamp_check_cost


NODE_LIMITS = NodeLimits()


def day_of(now: float) -> int:
    """Days since 1970-01-01 UTC: the unit of records, epochs and descriptors."""
    return int(now // DAY)
