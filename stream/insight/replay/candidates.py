"""Candidates: production's lists, policy and agreements with something in its place."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stream.calls.plausibility.bursts import Bursts
from stream.config.settings import EngineSettings
from stream.core.filters.blocklists import Blocklists, LiveList, Table, TableGroup, fresh
from stream.core.filters.snapshot import FILTER_PART, Snapshot, read_snapshot
from stream.core.model.agreement import Agreement, Agreements
from stream.core.model.entry import Columns
from stream.core.model.errors import SnapshotUnreadable
from stream.core.model.on_trial import Target, TrialStatus, known
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.list_scope import Scope
from stream.engine.decider import rules_for
from stream.engine.signatures import Signatures
from stream.feeds.diff import REMOVED
from stream.feeds.feed import Feed
from stream.feeds.read import read_version
from stream.feeds.row_checks import Bounds, VersionRead
from stream.insight.replay.compare import Side
from stream.lists.follower import table_cache
from stream.lists.snapshot.build import Version, bare_snapshot, build_snapshot
from stream.lists.snapshot.circle_keys import PLAIN, key_id
from stream.lists.snapshot.merge import picked


@dataclass(frozen=True, slots=True)
class ReplayWorld:
    """The sources of decisions on one side of a replay."""

    settings: EngineSettings
    blocklists: Blocklists
    agreements: Agreements

    def side(self, at_s: int) -> Side:
        """Return the same, compiled for that moment."""
        signatures = Signatures.of(self.settings, lambda _: None, is_live=False)
        verify = None if signatures is None else signatures.verifier.attested
        rules = rules_for(self.settings, self.blocklists, self.agreements, at_s, verify)
        held = rules.policy.settings.rules
        bursts = None
        if held.is_on("short_bursts"):
            bursts = Bursts(held.bursts, self.settings.calls.topics)
        return Side(self.blocklists, rules, bursts)

    def as_read_by(self, other: EngineSettings) -> EngineSettings:
        """Return the settings by which this side reads records that `other` calls records.

        Trunks, countries, prefixes and called numbers are its own. Topics, their dialects and the
        size of records are `other`'s: else the sides would not decide the same calls.
        """
        calls = replace(
            other.calls,
            check_callee=self.settings.calls.check_callee,
            home_country=self.settings.calls.home_country,
            international_prefix=self.settings.calls.international_prefix,
        )
        return replace(other, calls=calls, trunks=self.settings.trunks)

    def with_list(self, candidate: LiveList, folder: Path) -> "ReplayWorld":
        """With `candidate` in place of the list of its name, or besides the others.

        Tables that change are made in `folder`; the others are production's own. Blocks. Raises
        SnapshotUnreadable.
        """
        tables_here = _tables(self.blocklists)

        def table_of(snapshots: Sequence[Snapshot]) -> Table:
            held = tables_here.get(_filters(snapshots))
            return table_cache.table_for(folder, snapshots) if held is None else held

        kept = [live for live in self.blocklists.lists if live.name != candidate.name]
        made = Blocklists.of([*kept, candidate], self.blocklists.allow, table_of)
        return replace(self, blocklists=made.with_trials(self.blocklists.trials))

    def with_agreement(self, candidate: Agreement) -> "ReplayWorld":
        """With `candidate` in place of the agreement of its id, or besides the others."""
        kept = [held for held in self.agreements.held if held.id != candidate.id]
        held = tuple(sorted([*kept, candidate], key=lambda one: one.id))
        return replace(self, agreements=Agreements(held, needed=True))

    def without_trials(self, targets: Collection[Target] = ()) -> "ReplayWorld":
        """With `targets` in force, or, where none are named, everything that is on trial."""
        trials = self.blocklists.trials
        policy, names = self.settings.policy.settings(), self.blocklists.names
        known_here = known(policy, names, self.agreements)
        on_trial = [
            target
            for target, set_on_trial in known_here
            if trials.standing(target, set_on_trial=set_on_trial) is TrialStatus.TRIAL
        ]
        chosen = [one for one in on_trial if not targets or one in targets]
        made = trials.with_turned(chosen, TrialStatus.FORCE)
        return replace(self, blocklists=self.blocklists.with_trials(made))


def live_list(
    name: str,
    circle: str,
    key: bytes,
    content: Columns | bytes,
    generation: int,
    now_s: int,
    scope: Scope | None,
) -> LiveList:
    """Return a list of `content` (bytes: a bare filter) as a worker would enforce it. Blocks.

    Raises SnapshotUnreadable, and FilterUnreadable for a bare filter.
    """
    owner, _, short = name.partition("/")
    version = Version(owner, short, generation, circle, key, key_id(key))
    if isinstance(content, bytes):
        parts = bare_snapshot(version, content, now_s)
    else:
        parts = build_snapshot(version, content, now_s)
    return replace(fresh(name, key, read_snapshot(parts, key=key), now_s), scope=scope)


def file_read(
    feed: Feed,
    path: Path,
    rejects: Path,
    key: bytes,
    emergency: Mapping[str, frozenset[str]],
    now_s: int,
) -> VersionRead:
    """Return a partner's file as its feed would read it, without rows that it may not bring.

    Blocks. Raises SnapshotUnreadable where it is not what its feed says.
    """
    bounds = Bounds(
        codes=feed.codes,
        own=feed.own,
        speaks_for=feed.speaks_for,
        emergency=EmergencyNumbers(dict(emergency)),
    )
    read = read_version(feed, path, rejects, key, bounds, now_s)
    if read.unreadable:
        raise SnapshotUnreadable(f"{path}: {read.unreadable}")
    return read


def content_of(read: VersionRead) -> Columns | bytes:
    """Return the part of a file that can be on a list."""
    if read.bare:
        return read.filter_data
    return picked(read.columns, np.flatnonzero(read.columns.category != REMOVED))


def key_for(settings: EngineSettings, blocklists: Blocklists, name: str) -> tuple[str, bytes]:
    """Return the circle and key of a list here; `plain` where there is no such list yet."""
    for live in blocklists.lists:
        if live.name == name:
            keys = settings.circle_keys()
            circle = next((one for one, key in keys.items() if key == live.key), PLAIN)
            return circle, live.key
    return PLAIN, b""


def _filters(snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    return tuple(one.manifest.parts[FILTER_PART].sha256 for one in snapshots)


def _tables(blocklists: Blocklists) -> dict[tuple[str, ...], Table]:
    """Return the tables that are there, by the filters in them."""
    found = {}
    for circle in blocklists.circles:
        for group in circle.groups:
            found[_filters(_members(blocklists, group))] = group.table
    return found


def _members(blocklists: Blocklists, group: TableGroup) -> list[Snapshot]:
    snapshots = [blocklists.lists[index].snapshot for index in group.exact.lists.tolist()]
    assert None not in snapshots, "a group has usable lists alone"
    return [one for one in snapshots if one is not None]
