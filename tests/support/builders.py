"""Small whole values for tests: lists, blocklists, batches of calls."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream.calls.call_batch import CallBatch, KeyFields
from stream.calls.lookup import Question
from stream.calls.rulings import Rules
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.filters.blocklists import Blocklists, LiveList, fresh
from stream.core.filters.bloom import build_filter, pybloom_shape, write_filter
from stream.core.filters.digests import Digests, elements
from stream.core.filters.sliced_table import TableSpec, compile_table
from stream.core.filters.snapshot import FILTER_PART, Snapshot, read_snapshot
from stream.core.model.allowlist import NOBODY, Allowlist
from stream.core.model.call import Call, Ingress, Stage
from stream.core.model.decision import SipAnswerSettings
from stream.core.model.entry import NEVER, Category, Columns, Entry
from stream.core.numbers.codes import codes_of
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.numbers.number import Numbers, parse_many
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.lists.snapshot.build import (
    Version,
    bare_snapshot,
    build_snapshot,
    columns_from,
    digested,
)
from stream.lists.snapshot.merge import in_order

NOW_S = 1_795_564_428
SIP = SipAnswerSettings("https://redress.example/d/{decision_id}", "TN")
DECODING = DecodeSettings(record_bytes_max=100_000, check_callee=True, attestation=True)
HOME = Trunks("TH")


def numbers_of(texts: Iterable[str | None], region: str | None = None) -> Numbers:
    """Numbers as the engine reads them."""
    return parse_many(list(texts), lambda _row: region)


def fingerprint_of(number: str, key: bytes = b"") -> int:
    """The fingerprint of one E.164 number in the circle with `key`."""
    return int(Digests(elements(np.array([number], "S16"), key)).fingerprints()[0])


def entry(number: str, key: bytes = b"", **fields) -> Entry:
    """An entry that never expires, unless `fields` say otherwise."""
    plain = Entry(
        number=number,
        fingerprint=fingerprint_of(number, key),
        category=Category.CALL_CENTRE,
        source="test",
        reported_at_s=NOW_S - 60,
        expires_at_s=NEVER,
        confidence=100,
    )
    return replace(plain, **fields)


def columns_of(
    numbers: ArrayLike, key: bytes = b"", sources: tuple[str, ...] = ("test",), **fields
) -> Columns:
    """The columns of `numbers`, prefixes too; of `fields`, one value for all rows or one each."""
    texts = np.array(numbers, "S16")
    given = {"reported_at": 0, "expires_at": 0, "category": 0, "confidence": 50, "source": 0}
    given |= fields
    wide = {name: np.asarray(value, np.int64) for name, value in given.items()}
    arrays: dict[str, NDArray[Any]] = {
        name: np.array(np.broadcast_to(one, len(texts))) for name, one in wide.items()
    }
    found = [digests.fingerprints() for _, digests in digested(texts, key)]
    arrays["fingerprint"] = np.concatenate(found or [np.empty(0, np.uint64)])
    arrays["number"] = codes_of(texts)
    return in_order(arrays, sources)


def snapshot(
    name: str, entries: Sequence[Entry], key: bytes = b"", generation: int = 1
) -> Snapshot:
    """A snapshot of `entries`, in memory, built and read as the product does."""
    owner, short = name.split("/")
    version = Version(owner, short, generation, "test" if key else "plain", key, "k1")
    return read_snapshot(build_snapshot(version, columns_from(entries), NOW_S), key=key)


def hashed(
    name: str, entries: Sequence[Entry], hidden: Iterable[str], key: bytes = b""
) -> Snapshot:
    """A snapshot of `entries`, those of the numbers `hidden` as fingerprints alone, as shared."""
    whole = build_snapshot(_version(name, key), columns_from(entries), NOW_S)
    gone = set(hidden)
    shared = columns_from(
        [replace(one, number=None) if one.number in gone else one for one in entries]
    )
    parts = build_snapshot(_version(name, key), shared, NOW_S, filter_data=whole[FILTER_PART])
    return read_snapshot(parts, key=key)


def _version(name: str, key: bytes) -> Version:
    owner, short = name.split("/")
    return Version(owner, short, 1, "test" if key else "plain", key, "k1")


def bare(name: str, numbers: Sequence[str], capacity: int = 40_000, rate: float = 1e-3) -> Snapshot:
    """A list shared as a bare pybloom-live filter."""
    owner, short = name.split("/")
    digests = Digests(elements(np.array(numbers, "S16"), b""))
    held = build_filter([digests], pybloom_shape(capacity, rate), len(numbers))
    version = Version(owner, short, 1, "plain", b"", "")
    return read_snapshot(bare_snapshot(version, write_filter(held), NOW_S))


def table_of(snapshots: Sequence[Snapshot]):
    """The bit-sliced table of `snapshots`, in memory."""
    held = snapshots[0].filter
    spec = TableSpec(held.plan, held.shape.bits_per_slice, len(snapshots))
    table = np.zeros(spec.rows, spec.dtype)
    compile_table([one.filter for one in snapshots], table)
    return table


def live(name: str, *numbers: str, key: bytes = b"", **fields) -> LiveList:
    """A list right after loading, with an entry for each of `numbers`."""
    entries = [entry(number, key, **fields) for number in numbers]
    return fresh(name, key, snapshot(name, entries, key), NOW_S)


def blocklists(*lists: LiveList, allow: Allowlist = NOBODY) -> Blocklists:
    """All of `lists`, enforced."""
    return Blocklists.of(lists, allow, table_of)


def rules_for(
    lists: Blocklists,
    policy: PolicySettings = PolicySettings(),  # noqa: B008 - immutable
    trunks: Trunks = HOME,
    *,
    emit_all: bool = False,
) -> Rules:
    """The rules of a carrier in Thailand, with `lists`."""
    compiled = compile_policy(policy, lists.names)
    return Rules(compiled, EmergencyNumbers({}), trunks, SIP, emit_all)


def record_of(question: Question) -> bytes:
    """The call of a question as a record of dialect `ringfence`, for the stream to decide."""
    return msgspec.json.encode(question.fields(""))


def raw_of(*values, topics=("calls",)) -> RawBatch:
    """`values` spread over one partition of each topic, from offset 10 on."""
    share = -(-len(values) // len(topics))
    segments = tuple(
        Segment(Partition(topic, 3), start, min(start + share, len(values)))
        for topic, start in zip(topics, range(0, len(values), share), strict=False)
    )
    whole = RawBatch.of(list(values), Partition(topics[0], 3), first=10)
    return replace(whole, segments=segments)


def call_batch(*key_fields: KeyFields, callees: bool = True, home: str = "TH") -> CallBatch:
    """Calls as decoded, from one partition of the topic `calls`; bytes that nobody reads again."""
    raw = RawBatch.of([b"{}"] * len(key_fields), Partition("calls", 3), 100, NOW_S * 1000)

    def call_of(index: int) -> Call:
        seen = key_fields[index]
        return Call(
            call_id=seen.call_id,
            caller=seen.caller,
            callee=seen.callee,
            started_at_s=float(NOW_S),
            stage=Stage.ATTEMPT,
            ingress=Ingress.UNKNOWN,
            trunk=seen.trunk,
            carrier=None,
            duration_s=None,
        )

    return CallBatch(
        raw=raw,
        key_fields=key_fields,
        rows=np.arange(len(raw)),
        callers=numbers_of([seen.caller for seen in key_fields], home),
        callees=numbers_of([seen.callee for seen in key_fields], home) if callees else None,
        rejected=(),
        call_of=call_of,
        started_at_s=lambda _: float(NOW_S),
    )
