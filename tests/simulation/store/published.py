"""The reference of lists: each version that the list store published, by content, in plain Python.

It reads the list store's steps as its primary writes them, and knows what each publisher meant. It
knows nothing of filters, snapshots, overlays or followers. A version is found by its chain, as two
may have one generation: a fail-over loses steps, and others take their numbers.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from tests.simulation.store.database import Args
from tests.simulation.store.node import Node

Content = Mapping[str, frozenset[str]]
"""The numbers of a list, each with its sources; of the allowlist its texts."""
ALLOWLIST = ""


@dataclass(frozen=True)
class Version:
    """A list after one step. `content` None: it was deleted. `number`: what the step was about."""

    name: str
    generation: int
    chain: str
    op: str
    content: Content | None
    before: "Version | None"
    number: str = ""
    what: str = ""
    """The origin of a base: import, rebuild, rollback or repair."""
    reason: str = ""
    at_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.op} {self.what or self.number} at {self.generation} ({self.reason})"


@dataclass
class Book:
    """All versions of all lists, by name and chain. `wrong`: steps that follow nothing known."""

    versions: dict[str, dict[str, Version]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    _meant: dict[str, Content] = field(default_factory=dict)
    _bases: dict[str, Content] = field(default_factory=dict)
    _alone: dict[tuple[str, int], list[Content]] = field(default_factory=dict)
    """Contents of bases alone, by list and the generation up to which they hold all changes."""

    def mean(self, reason: str, content: Content) -> None:
        """Note what a publisher will make of a list; `reason` is that of its change."""
        self._meant[reason] = content

    def took(self, node: Node, effects: tuple[Args, ...]) -> None:
        """Take what a primary wrote in one change."""
        audits = [_fields(args) for args in effects if args[:2] == (b"XADD", b"rf:audit")]
        reason = audits[0]["reason"] if audits else ""
        for args in effects:
            if args[:2] == (b"XADD", b"rf:changes"):
                step = _fields(args)
                version = self._after(step, reason, node.loop.time())
                self.versions.setdefault(version.name, {})[version.chain] = version

    def _after(self, step: Mapping[str, str], reason: str, at_s: float) -> Version:
        name, generation, op = step["list"], int(step["generation"]), step["op"]
        payload, chain = step["payload"], step["chain"]
        before = self._parent(step)
        held = dict(before.content or {}) if before is not None else {}
        content: Content | None = held
        number = what = ""
        match op:
            case "add":
                said = json.loads(payload)
                number = said["number"]
                sources = {said["source"], *(more["source"] for more in said.get("more", ()))}
                held[number] = frozenset(sources)
            case "remove":
                number = json.loads(payload)["number"]
                held.pop(number, None)
            case "allow":
                number = json.loads(payload)["text"]
                held[number] = frozenset()
            case "disallow":
                number = payload
                held.pop(number, None)
            case "create":
                content = {}
            case "delete":
                content = None
            case "base":
                said = json.loads(payload)
                what = said["what"]
                content = self._based(name, said, before, reason)
        return Version(name, generation, chain, op, content, before, number, what, reason, at_s)

    def _based(
        self, name: str, said: Mapping[str, Any], before: Version | None, reason: str
    ) -> Content:
        """Return a base's content, with the changes over it that were made while it was written."""
        path = list(ancestors(before))
        over = [one for one in path if one.generation > said["base"] and one.number]
        if said["what"] == "rebuild":
            made = _at(path, said["base"])
        elif said["what"] == "rollback":
            made = _at(path, said["of"])
        elif said["what"] == "repair" and reason not in self._meant:
            made = self._as_a_follower_knew(name, said["of"], before)
        else:
            made = self._meant.get(reason, self._bases.get(said["manifest_sha256"], {}))
        self._bases[said["manifest_sha256"]] = made
        self._alone.setdefault((name, said["base"]), []).append(made)
        return _over(made, reversed(over))

    def _as_a_follower_knew(self, name: str, of: int, before: Version | None) -> Content:
        """Return what a follower publishes by itself: the lost version, with the changes since."""
        shared = {one.chain for one in ancestors(before)}
        lost = [
            one
            for one in self.versions[name].values()
            if one.generation == of and one.chain not in shared
        ]
        return self.put_back(lost[-1], before) if lost else {}

    def _parent(self, step: Mapping[str, str]) -> Version | None:
        told = f"\n{step['generation']}\n{step['op']}\n{step['payload']}".encode()
        for one in reversed(self.versions.get(step["list"], {}).values()):
            if _sha1(one.chain.encode() + told) == step["chain"]:
                return one
        if _sha1(told) != step["chain"]:
            self.wrong.append(f"{step['list']}: {step['op']} of {step['generation']}: no parent")
        return None

    def find(self, name: str, chain: str) -> Version | None:
        """Return the version at a chain."""
        return self.versions.get(name, {}).get(chain)

    def at(self, name: str, generation: int) -> list[Content | None]:
        """Return the contents of one generation: several after a fail-over, and that of a base."""
        versions = self.versions.get(name, {}).values()
        found = [v.content for v in versions if v.generation == generation]
        return found + self._alone.get((name, generation), [])

    def put_back(self, known: Version, head: Version | None) -> Content:
        """Return a repaired list: a version, and over it what the list store changed without it."""
        shared = {one.chain for one in ancestors(known)}
        since = list(takewhile(lambda one: one.chain not in shared, ancestors(head)))
        if since and since[-1].before is None:  # never of one history, so nothing is newer
            since = []
        return _over(known.content or {}, (one for one in reversed(since) if one.number))

    def kept(self, name: str, generation: int, chain: str) -> Iterator[Content]:
        """Yield the contents that a disk may hold: a version, and each later change of a number.

        A new base may be missing there. A list that was withdrawn is not kept. Of a list that was
        being read only the last changes may be there: those that came meanwhile (seed 134), over
        what it was before, also where it was withdrawn and made again in between (seed 10080).
        """
        if not generation:  # killed between a list's name and its first step: an empty list
            yield {}
        known = self.find(name, chain)
        versions = self.versions.get(name, {}).values()
        for last in [known] if known else [v for v in versions if v.generation == generation]:
            overs: list[dict[str, Version]] = [{}]
            for one in ancestors(last):
                alone = self._alone.get((name, one.generation), ())
                for content in (one.content or {}, *alone):
                    yield from (_over(content, over.values()) for over in reversed(overs))
                if one.op == "delete":
                    overs = [over for over in overs if over]
                    if not overs:
                        break
                if one.number:
                    overs.append({one.number: one} | overs[-1])
        yield from self._alone.get((name, generation), ())

    def sources(self, name: str, number: str, upto: int) -> set[frozenset[str] | None]:
        """Return all that any version up to a generation says of a number."""
        versions = self.versions.get(name, {}).values()
        contents = [v.content for v in versions if v.generation <= upto]
        for (listed, generation), made in self._alone.items():
            contents += made if listed == name and generation <= upto else []
        return {(content or {}).get(number) for content in contents} | {None}


def ancestors(version: Version | None) -> Iterator[Version]:
    """Yield a version and all before it, newest first."""
    while version is not None:
        yield version
        version = version.before


def _over(content: Content, changes: Iterable[Version]) -> Content:
    """Return a content after changes of single numbers."""
    made = dict(content)
    for one in changes:
        after = (one.content or {}).get(one.number)
        if after is None:
            made.pop(one.number, None)
        else:
            made[one.number] = after
    return made


def _at(path: list[Version], generation: int) -> Content:
    return next((one.content or {} for one in path if one.generation <= generation), {})


def _fields(args: Args) -> dict[str, str]:
    rest = [one.decode() for one in args[3:]]
    return dict(zip(rest[::2], rest[1::2], strict=True))


def _sha1(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()
