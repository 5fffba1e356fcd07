"""A group's coordinator: members, generations, assignments and positions.

After Kafka's `GroupCoordinator` of the classic protocol. What a coordinator has written to its
topic outlives its broker: finished generations and positions. What it had in memory does not.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from tests.simulation.kafka.errors import Code

Offsets = dict[tuple[str, int], tuple[int, str]]
"""Offset and metadata of each (topic, partition)."""


class State(Enum):
    """Where a group stands, in Kafka's words."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


@dataclass(eq=False)
class Member:
    """One member. `joining` and `syncing` are answers that it waits for."""

    name: str
    instance: str | None
    host: str
    session_s: float
    rebalance_s: float
    metadata: bytes
    protocol: str
    joining: "asyncio.Future[Any] | None" = None
    syncing: "asyncio.Future[Any] | None" = None
    session: asyncio.TimerHandle | None = None


@dataclass(frozen=True)
class Joined:
    """The answer to a JoinGroup."""

    code: Code
    generation: int = -1
    protocol: str = ""
    leader: str = ""
    member: str = ""
    members: tuple[tuple[str, str | None, bytes], ...] = ()


_CHECKPOINT_S = 4.0
"""A broker notes how far it is by the second, and knows less after a crash."""


@dataclass(eq=False)
class Group:
    """One group, at its coordinator. `new_id` makes the part of a member's id that is unique."""

    name: str
    loop: asyncio.AbstractEventLoop
    new_id: Callable[[], str]
    state: State = State.EMPTY
    generation: int = 0
    leader: str = ""
    protocol: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    assignments: dict[str, bytes] = field(default_factory=dict)
    offsets: Offsets = field(default_factory=dict)
    pending: dict[int, Offsets] = field(default_factory=dict)
    """Positions of transactions that have not ended, by producer id."""
    forgotten: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    """Positions that it told until the topic was known to be deleted."""
    _before: Offsets = field(default_factory=dict)
    _before_s: float = 0.0
    """Its positions some seconds ago, and since when."""
    _behind: Offsets = field(default_factory=dict)
    _behind_s: float = 0.0
    """The positions that a coordinator returns until then, after a crash."""
    _promised: set[str] = field(default_factory=set)
    _current: set[str] = field(default_factory=set)
    """Members of the present generation: one that asks again has lost its answer."""
    _timer: asyncio.TimerHandle | None = None
    _written: tuple[Any, ...] = ()

    # Members.

    def join(self, asked: Any, host: str) -> "asyncio.Future[Joined] | Joined":
        """Let a member in, or in again; the answer comes when all have joined."""
        name, instance = asked.member_id, asked.group_instance_id or None
        if instance:
            known = next((m for m in self.members.values() if m.instance == instance), None)
            if not name:
                return self._join_static(asked, host, known)
            if known is None:
                return Joined(Code.UNKNOWN_MEMBER_ID)
            if known.name != name:
                return Joined(Code.FENCED_INSTANCE_ID)
        elif not name:
            name = f"{self.name}-{self.new_id()}"
            self._promised.add(name)
            return Joined(Code.MEMBER_ID_REQUIRED, member=name)
        if name in self._promised:
            self._promised.discard(name)
            member = self._new_member(name, asked, host)
        elif name in self.members:
            member = self.members[name]
        else:
            return Joined(Code.UNKNOWN_MEMBER_ID, member=name)
        return self._joins(member, asked)

    def _join_static(
        self, asked: Any, host: str, known: Member | None
    ) -> "asyncio.Future[Joined] | Joined":
        """Let a process in under its instance id; one that had it is fenced off."""
        name = f"{asked.group_instance_id}-{self.new_id()}"
        if known is None:
            return self._joins(self._new_member(name, asked, host), asked)
        leader = self.leader
        self._fence(known)
        del self.members[known.name]
        member = self._new_member(name, asked, host)
        if known.name in self.assignments:
            self.assignments[name] = self.assignments.pop(known.name)
        if self.leader == known.name:
            self.leader = name
        # Where the leader assigns just now, it knows the name before: all join again. As Kafka has
        # it, else the new name would have no assignment (seed 160001488).
        if known.name in self._current and self.state is not State.COMPLETING:
            self._current = {*self._current, name}
        # As in Kafka 4.1: what it subscribes to may have changed, and nobody assigns again.
        same = member.protocol == known.protocol
        if self.state is State.STABLE and same:
            # The name of the leader before: so this member, if it led, does not assign again.
            self._write()
            self._heard(member)
            return Joined(Code.NONE, self.generation, self.protocol, leader, name)
        return self._joins(member, asked)

    def _new_member(self, name: str, asked: Any, host: str) -> Member:
        protocol, metadata = asked.group_protocols[0]
        member = Member(
            name,
            asked.group_instance_id or None,
            host,
            asked.session_timeout / 1000,
            asked.rebalance_timeout / 1000,
            metadata,
            protocol,
        )
        self.members[name] = member
        return member

    def _joins(self, member: Member, asked: Any) -> "asyncio.Future[Joined] | Joined":
        protocol, metadata = asked.group_protocols[0]
        same = member.metadata == metadata
        member.protocol, member.metadata = protocol, metadata
        if self.state is State.STABLE and same and member.name != self.leader:
            if member.name in self._current:
                self._heard(member)
                return self._joined(member)
        elif self.state is State.COMPLETING and same and member.name in self._current:
            return self._joined(member)
        if member.joining is not None and not member.joining.done():
            member.joining.cancel()
        # Kept here: where it is the last to come, its answer is there at once.
        member.joining = answer = self.loop.create_future()
        self._cancel(member)
        self._prepare()
        return answer

    def _prepare(self) -> None:
        """Begin a rebalance, unless one waits already; end it if all are there."""
        if self.state is not State.PREPARING:
            self.state = State.PREPARING
            for member in self.members.values():
                self._answer_sync(member, Code.REBALANCE_IN_PROGRESS)
            if self._timer is not None:
                self._timer.cancel()
            most_s = max((member.rebalance_s for member in self.members.values()), default=0.0)
            self._timer = self._later(most_s, self._complete)
        if all(_waits(member.joining) for member in self.members.values()):
            self._complete()

    def _complete(self) -> None:
        """End the joining: those who did not come are no members any more."""
        if self.state is not State.PREPARING:
            return
        if self._timer is not None:
            self._timer.cancel()
        for member in list(self.members.values()):
            # A static member that is away keeps its place until its session ends.
            if not _waits(member.joining) and member.instance is None:
                self._remove(member)
        self.generation += 1
        self.assignments = {}
        if not self.members:
            self.state = State.EMPTY
            self.leader = self.protocol = ""
            self._write()
            return
        self.state = State.COMPLETING
        self._current = set(self.members)
        there = [member for member in self.members.values() if _waits(member.joining)]
        if self.leader not in {member.name for member in there}:
            self.leader = (there or list(self.members.values()))[0].name
        self.protocol = self.members[self.leader].protocol
        for member in self.members.values():
            if _waits(member.joining):
                assert member.joining is not None
                member.joining.set_result(self._joined(member))
            member.joining = None
            self._heard(member)

    def _joined(self, member: Member) -> Joined:
        everybody: tuple[tuple[str, str | None, bytes], ...] = ()
        if member.name == self.leader:
            everybody = tuple((m.name, m.instance, m.metadata) for m in self.members.values())
        code, generation = Code.NONE, self.generation
        return Joined(code, generation, self.protocol, self.leader, member.name, everybody)

    def sync(self, asked: Any) -> "asyncio.Future[tuple[Code, bytes]] | tuple[Code, bytes]":
        """Take the leader's assignment, and give each member its part."""
        if code := self.check(asked.member_id, asked.generation_id, asked.group_instance_id):
            return code, b""
        member = self.members[asked.member_id]
        if self.state is State.PREPARING:
            return Code.REBALANCE_IN_PROGRESS, b""
        if self.state is State.COMPLETING and member.name != self.leader:
            member.syncing = self.loop.create_future()
            return member.syncing
        if self.state is State.COMPLETING:
            self.assignments = dict(asked.group_assignment)
            self.state = State.STABLE
            self._write()
            for other in self.members.values():
                self._answer_sync(other, Code.NONE)
        self._heard(member)
        return Code.NONE, self.assignments.get(member.name, b"")

    def _answer_sync(self, member: Member, code: Code) -> None:
        if member.syncing is not None and not member.syncing.done():
            part = b"" if code else self.assignments.get(member.name, b"")
            member.syncing.set_result((code, part))
            self._heard(member)
        member.syncing = None

    def heartbeat(self, name: str, generation: int) -> Code:
        """Keep a member."""
        if code := self.check(name, generation, None):
            return code
        self._heard(self.members[name])
        preparing = self.state is State.PREPARING
        return Code.REBALANCE_IN_PROGRESS if preparing else Code.NONE

    def leave(self, name: str) -> Code:
        """Let a member go."""
        if name in self._promised:
            self._promised.discard(name)
            return Code.NONE
        if name not in self.members:
            return Code.UNKNOWN_MEMBER_ID
        self._gone(self.members[name])
        return Code.NONE

    def check(self, name: str, generation: int, instance: str | None) -> Code:
        """Return what is wrong with a member's question."""
        if instance and any(
            m.instance == instance and m.name != name for m in self.members.values()
        ):
            return Code.FENCED_INSTANCE_ID
        if name not in self.members:
            return Code.UNKNOWN_MEMBER_ID
        return Code.NONE if generation == self.generation else Code.ILLEGAL_GENERATION

    # Sessions.

    def _later(self, wait_s: float, job: Callable[[], None]) -> asyncio.TimerHandle:
        # In no process' context: a broker that dies does not stop time for its successor.
        return self.loop.call_later(wait_s, job, context=Context())

    def _heard(self, member: Member) -> None:
        self._cancel(member)
        member.session = self._later(member.session_s, partial(self._expired, member))

    def _cancel(self, member: Member) -> None:
        if member.session is not None:
            member.session.cancel()
            member.session = None

    def _expired(self, member: Member) -> None:
        if self.members.get(member.name) is member and not _waits(member.joining):
            self._gone(member)

    def _gone(self, member: Member) -> None:
        self._remove(member)
        if self.state in {State.STABLE, State.COMPLETING} or (
            self.state is State.PREPARING and self.members
        ):
            self._prepare()
        elif self.state is State.PREPARING:
            self._complete()

    def _remove(self, member: Member) -> None:
        self.members.pop(member.name, None)
        self._cancel(member)
        if _waits(member.joining):
            assert member.joining is not None
            member.joining.set_result(Joined(Code.UNKNOWN_MEMBER_ID))
        self._answer_sync(member, Code.UNKNOWN_MEMBER_ID)
        self._cancel(member)

    def _fence(self, member: Member) -> None:
        if _waits(member.joining):
            assert member.joining is not None
            member.joining.set_result(Joined(Code.FENCED_INSTANCE_ID))
        if member.syncing is not None and not member.syncing.done():
            member.syncing.set_result((Code.FENCED_INSTANCE_ID, b""))
        self._cancel(member)

    # Positions.

    def commit(self, asked: Any, knows: Callable[[tuple[str, int]], bool]) -> Code:
        """Commit positions of a member, or of nobody in an empty group, where `knows` says so."""
        name, generation = asked.consumer_id, asked.consumer_group_generation_id
        if generation < 0 and not self.members:
            code = Code.NONE
        elif not (code := self.check(name, generation, None)):
            # As Kafka does: while others join, the last generation may still commit.
            completing = self.state is State.COMPLETING
            code = Code.REBALANCE_IN_PROGRESS if completing else Code.NONE
            if self.state is not State.PREPARING or not _waits(self.members[name].joining):
                self._heard(self.members[name])
        if not code:
            self._move(positions_of(asked.topics, knows))
        return code

    def _move(self, positions: Offsets) -> None:
        if self.loop.time() > self._before_s + _CHECKPOINT_S:
            self._before, self._before_s = dict(self.offsets), self.loop.time()
        self.offsets |= positions

    @property
    def shown(self) -> Offsets:
        """The positions that its coordinator tells."""
        return self._behind if self.loop.time() < self._behind_s else self.offsets

    def forget(self, topic: str) -> None:
        """Forget the positions of a topic that was deleted, of open transactions too."""
        for name, (position, _) in self.offsets.items():
            if name[0] == topic:
                self.forgotten.setdefault(name, set()).add(position)
        for held in (self.offsets, *self.pending.values()):
            for name in [name for name in held if name[0] == topic]:
                del held[name]

    def is_pending(self, partition: tuple[str, int]) -> bool:
        """Return whether a transaction that has not ended yet has a position for it."""
        return any(partition in positions for positions in self.pending.values())

    def end_transaction(self, producer: int, *, commits: bool) -> None:
        """Count a transaction's positions, or forget them."""
        pending = self.pending.pop(producer, {})
        if commits:
            self._move(pending)

    # Its broker.

    def _write(self) -> None:
        self._written = (
            self.state,
            self.generation,
            self.leader,
            self.protocol,
            dict(self.members),
            dict(self.assignments),
        )

    def load(self, behind_s: float = 0.0, *, empty: bool = False) -> None:
        """Go on from what was written: another broker is the coordinator now.

        Until `behind_s` it tells the positions of some seconds before, or that there are none, as
        Apache Kafka 4.1.1 does after a crash (decision 0245).
        """
        self._behind, self._behind_s = {} if empty else self._before, behind_s
        for member in self.members.values():
            self._cancel(member)
            member.joining = member.syncing = None
        if self._timer is not None:
            self._timer.cancel()
        self._promised.clear()
        written = self._written or (State.EMPTY, 0, "", "", {}, {})
        self.state, self.generation, self.leader, self.protocol = written[:4]
        self.members, self.assignments = dict(written[4]), dict(written[5])
        self._current = set(self.members)
        for member in self.members.values():
            member.joining = member.syncing = None
            self._heard(member)


def positions_of(topics: Any, knows: Callable[[tuple[str, int]], bool]) -> Offsets:
    """Return the positions that a request names, of partitions that are there."""
    return {
        (topic, partition): (offset, metadata)
        for topic, partitions in topics
        for partition, offset, metadata in partitions
        if knows((topic, partition))
    }


def _waits(answer: "asyncio.Future[Any] | None") -> bool:
    return answer is not None and not answer.done()
