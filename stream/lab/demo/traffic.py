"""Call-detail records of the simulated countries, and what is true of each of them.

The truth is computed from the plain sets of `World`, call by call, while the records are written.
It uses nothing of the engine's. Records are in the dialect `ringfence`, as a carrier's mediation
would write them. Most callers are innocent, some are listed, some are written in the way of their
country, and a few records are no calls at all.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from stream.core.model.moments import rfc3339
from stream.lab.demo.world import COUNTRIES, Country, World

CALL = (
    '{{"call_id":"bad-{mark}","caller":"+66812345678","callee":"+66898765432",'
    '"started_at":"2026-01-05T08:00:00Z","trunk":"th-bkk-01"}}'
)
TOO_LARGE_BYTES = 300_000
"""Beyond the default `calls.record_bytes_max`, below the default message size of a broker."""


def garbage(n: int, series: str) -> bytes | None:
    """Bad record `n` of a series (None: a tombstone). Each sort comes in turn; most are unique."""
    mark = f"{series}-{n}"
    call = CALL.format(mark=mark)
    sorts: tuple[bytes | None, ...] = (
        f"\x16\x03\x01 no call {mark}".encode(),
        call[: len(call) // 2].encode(),
        call.encode("utf-16"),
        None,
        f'{{"note":"no field of a call in record {mark}"}}'.encode(),
        call.replace('"+66812345678"', f'["{mark}"]').encode(),
        b"[" * 5000 + mark.encode(),
        call.replace("{", '{"caller":"+66811111111",', 1).encode(),
        b"",
        b"\x00" * 64 + mark.encode(),
        call.encode() * 2,
    )
    if n == len(sorts):  # once is enough: it is large
        return call.replace("bad", "x" * TOO_LARGE_BYTES).encode()
    return sorts[n % len(sorts)]


RECORDED, LIVE = "rec", "live"
"""The series of the recorded and of the live calls: how their ids begin."""
BEFORE_S = 3600
"""The recorded traffic began this long before the demo."""


class RecordKind(StrEnum):
    """The kind of a record, and so its expected decision."""

    INNOCENT = "innocent"
    INNOCENT_NATIONAL = "innocent, national format"
    WITHHELD = "withheld caller"
    LISTED = "listed caller"
    LISTED_SPELT = "listed caller, other spelling"
    CALL_BACK = "listed callee (victim calls back)"
    EMERGENCY = "listed caller, emergency call"
    ALLOWED = "listed, but allow-listed"
    BANK = "listed, but allowed by prefix"
    REPEAT = "record sent twice"
    GARBAGE = "not a call"


PER_10_000 = {
    RecordKind.INNOCENT_NATIONAL: 800,
    RecordKind.WITHHELD: 150,
    RecordKind.LISTED: 130,
    RecordKind.LISTED_SPELT: 50,
    RecordKind.CALL_BACK: 40,
    RecordKind.EMERGENCY: 10,
    RecordKind.ALLOWED: 10,
    RecordKind.BANK: 10,
    RecordKind.REPEAT: 10,
    RecordKind.GARBAGE: 12,
}
"""Frequency of each kind; every other record is an innocent call. About 2 % are listed."""

WEIGHTS = (0.4, 0.15, 0.1, 0.2, 0.15)
"""Share of the calls that enter through each country's trunk, in the order of `COUNTRIES`."""


class SentRecord(NamedTuple):
    """One record for Kafka. `call_id` is "" where it is no call; `value` None is a tombstone."""

    call_id: str
    value: bytes | None


class Expected(NamedTuple):
    """The decision due on a call: `verdict` block or flag, `lists` those to be named."""

    verdict: str
    lists: frozenset[str]


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth about the traffic.

    `expected` by call_id holds every call that must be blocked or flagged; every other call must be
    let through. `copies` says how many records a call has where it is not one. `garbage` counts the
    values of the records that are no calls; `kinds` all records by kind.
    """

    expected: dict[str, Expected] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    garbage: Counter[bytes | None] = field(default_factory=Counter)
    kinds: Counter[RecordKind] = field(default_factory=Counter)

    def decisions(self, verdict: str) -> int:
        """The number of decisions of `verdict` due: one for each record of each such call."""
        return sum(
            self.copies.get(call_id, 1)
            for call_id, expected in self.expected.items()
            if expected.verdict == verdict
        )

    @property
    def rejected(self) -> int:
        """The number of records that must be rejected."""
        return self.garbage.total()

    def __or__(self, other: "Truth") -> "Truth":
        """Return the truth about two traffics whose call ids differ."""
        return Truth(
            self.expected | other.expected,
            self.copies | other.copies,
            self.garbage + other.garbage,
            self.kinds + other.kinds,
        )


def expected_of(world: World, caller: str | None, callee: str, emergency: bool) -> Expected | None:
    """The decision due on a call between two E.164 numbers (None: withheld); None: let it through.

    The product's promise in its shortest form: emergency calls first, then allowed callers, then
    the strongest list that holds caller or callee.
    """
    if emergency or (caller is not None and world.is_allowed(caller)):
        return None
    best: Expected | None = None
    for number in (caller, callee):
        holders = world.holders.get(number or "", ())
        if not holders or world.is_allowed(number or ""):
            continue
        verdict = "block" if any(ACTIONS[name] == "block" for name in holders) else "flag"
        if best is None or (best.verdict, verdict) == ("flag", "block"):
            best = Expected(verdict, frozenset(holders))
    return best


ACTIONS = {country.list: country.action for country in COUNTRIES}


@dataclass(frozen=True, slots=True)
class Traffic:
    """Records in the order in which they are sent, and the truth about all of them."""

    records: Sequence[SentRecord]
    truth: Truth


def make_traffic(world: World, count: int, seed: int, now_s: int, series: str) -> Traffic:
    """`count` records of calls that began in the `BEFORE_S` seconds before `now_s`.

    `series` begins every call id and goes into every bad record: two traffics with different ones
    have no record in common.
    """
    writer = _Writer(world, count, seed, now_s, series)
    return Traffic([writer.record(at) for at in range(count)], writer.truth)


class _Writer:
    """Writes one record after the other; all chance is drawn beforehand, in columns."""

    def __init__(self, world: World, count: int, seed: int, now_s: int, series: str) -> None:
        rng = np.random.default_rng(seed)
        self.truth = Truth()
        self._world = world
        others = 10_000 - sum(PER_10_000.values())
        shares = np.array([*PER_10_000.values(), others]) / 10_000
        kinds = [*PER_10_000, RecordKind.INNOCENT]
        self._kinds = [kinds[at] for at in rng.choice(len(kinds), count, p=shares).tolist()]
        self._trunks = rng.choice(len(COUNTRIES), count, p=WEIGHTS).tolist()
        self._dice = rng.integers(0, 2**31, (count, 3)).tolist()
        started_s = now_s - BEFORE_S
        self._stamps = [str(rfc3339(started_s + second)) for second in range(BEFORE_S)]
        self._count = count
        self._series = series
        self._last_listed: SentRecord | None = None

    def record(self, at: int) -> SentRecord:
        """Record number `at`; its kind and truth are noted."""
        kind = self._kinds[at]
        if kind is RecordKind.REPEAT and self._last_listed is None:
            kind = RecordKind.INNOCENT
        self.truth.kinds[kind] += 1
        if kind is RecordKind.GARBAGE:
            value = garbage(self.truth.kinds[kind] - 1, self._series)
            self.truth.garbage[value] += 1
            return SentRecord("", value)
        if kind is RecordKind.REPEAT:
            assert self._last_listed is not None
            call_id = self._last_listed.call_id
            self.truth.copies[call_id] = self.truth.copies.get(call_id, 1) + 1
            return self._last_listed
        home = COUNTRIES[self._trunks[at]]
        caller, callee = self._parties(kind, home, at)
        emergency = kind is RecordKind.EMERGENCY
        call_id = f"{self._series}-{home.iso.lower()}-{at:07d}"
        record = SentRecord(call_id, self._written(at, kind, home, caller, callee, call_id))
        expected = expected_of(self._world, caller, callee, emergency)
        if expected is not None:
            self.truth.expected[call_id] = expected
            self._last_listed = record
        return record

    def _parties(self, kind: RecordKind, home: Country, at: int) -> tuple[str | None, str]:
        """Caller and callee as E.164 (an emergency number stays short)."""
        who, whom, where = self._dice[at]
        world = self._world
        callee = world.people[home.iso][whom % len(world.people[home.iso])]
        if kind is RecordKind.WITHHELD:
            return None, callee
        if kind is RecordKind.ALLOWED:
            return world.allowed[who % len(world.allowed)], callee
        if kind is RecordKind.BANK:
            return world.bank[who % len(world.bank)], callee
        if kind is RecordKind.INNOCENT_NATIONAL:
            return world.people[home.iso][who % len(world.people[home.iso])], callee
        away = COUNTRIES[where % len(COUNTRIES)]
        if kind is RecordKind.INNOCENT:
            away = home if where % 3 else away  # two of three calls stay in their country
            return world.people[away.iso][who % len(world.people[away.iso])], callee
        if kind is RecordKind.LISTED_SPELT:
            return self._listed(home, who, own=True), callee
        listed = self._listed(away, who)
        if kind is RecordKind.CALL_BACK:
            return callee, listed
        return listed, home.emergency if kind is RecordKind.EMERGENCY else callee

    def _listed(self, country: Country, dice: int, *, own: bool = False) -> str:
        """A member of the country's list, `own`: a number of its own; no exempt or changing one."""
        members = self._world.lists[country.list]
        while True:
            number = members[dice % len(members)]
            foreign = own and not number.startswith(f"+{country.code}")
            changing = number == self._world.to_remove
            if not (foreign or changing or self._world.is_allowed(number)):
                return number
            dice = dice // 7 + 1

    def _written(
        self,
        at: int,
        kind: RecordKind,
        home: Country,
        caller: str | None,
        callee: str,
        call_id: str,
    ) -> bytes:
        shown = self._spelt(kind, home, caller, at)
        abroad = caller is not None and not caller.startswith(f"+{home.code}")
        stamp = self._stamps[at * BEFORE_S // self._count]
        return cdr(call_id, shown, callee, home.trunk, stamp, abroad=abroad, duration_s=at % 240)

    def _spelt(self, kind: RecordKind, home: Country, caller: str | None, at: int) -> str | None:
        """Return the caller as the switch wrote it; None becomes JSON's null."""
        dice = self._dice[at][2]
        if caller is None:
            return (None, "anonymous", "Restricted", "sip:anonymous@anonymous.invalid")[dice % 4]
        if kind is RecordKind.INNOCENT_NATIONAL:
            return home.national(caller)
        if kind is RecordKind.LISTED_SPELT:
            spellings = (
                home.national(caller),
                f"sip:{caller}@{home.trunk}.example;user=phone",
                f"tel:{caller[:-4]}-{caller[-4:]}",
            )
            return spellings[dice % len(spellings)]
        return caller


def cdr(
    call_id: str,
    caller: str | None,
    callee: str,
    trunk: str,
    started_at: str,
    *,
    abroad: bool,
    duration_s: int,
) -> bytes:
    """One call as JSON in the dialect `ringfence`, with the fields beside it that CDRs carry."""
    written = "null" if caller is None else f'"{caller}"'
    ingress = "international" if abroad else "domestic"
    return (
        f'{{"call_id":"{call_id}","caller":{written},"callee":"{callee}",'
        f'"started_at":"{started_at}","stage":"end","ingress":"{ingress}","trunk":"{trunk}",'
        f'"carrier":"demo-mobile","duration_s":{duration_s},"cause":16,"codec":"AMR-WB",'
        f'"switch":"msc-03.{trunk}.example","record_type":"incGateway","sequence":{duration_s}}}'
    ).encode()
