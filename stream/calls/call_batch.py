"""The values that pass between the steps: calls of raw records, and the outcomes of deciding."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.core.model.byte_strings import Texts
from stream.core.model.call import Call, Rejected
from stream.core.model.decision import Verdict
from stream.core.numbers.number import Numbers
from stream.kafka.batch import Headers, RawBatch


class KeyFields(msgspec.Struct, gc=False):
    """The few fields that a decision about an innocent call needs; the rest is not even decoded.

    Without garbage collection, as tens of thousands of them live at once and none has a cycle.
    """

    call_id: str
    caller: str | None
    callee: str | None
    trunk: str | None = None
    ingress: str | None = None
    verstat: str | None = None
    attestation: str | None = None
    passport: str | None = None


FIELDS = ("call_id", "caller", "callee", "trunk", "ingress")
"""The fields of every call, in the order of the columns of `Located`."""
SIGNED = ("verstat", "attestation", "passport")
"""Fields of STIR/SHAKEN: columns after those, only if a rule asks for them."""
_COLUMNS = (*FIELDS, *SIGNED)
FEW = 64
"""Calls of a batch whose callers and callees are worked on together: for so few a NumPy call costs
what it costs for one. More would leave the processor's nearest cache."""


class Constants(NamedTuple):
    """Fields that a dialect knows without looking, of all calls up to `stop` that come before."""

    stop: int
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Places of the fields of calls in the buffer that holds their records.

    `starts`, `sizes` int64[columns, calls], of `FIELDS` and perhaps `SIGNED`, are the bytes between
    the quotation marks. They are printable ASCII without escapes, so they may be written into JSON
    unchanged. A size of -1 stands for null, for an absent field, or for one of `constants`. It also
    stands for a whole call that the scan left to the fallback decoder: `fallback` has its key
    fields, by index of the call.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    fallback: Mapping[int, KeyFields]
    constants: Sequence[Constants] = ()

    def text(self, name: str, index: int) -> str | None:
        """Return one field of one call, of whichever kind the call is."""
        decoded = self.fallback.get(index)
        if decoded is not None:
            text: str | None = getattr(decoded, name)
            return text
        column = _COLUMNS.index(name)
        if column >= len(self.starts):
            return None
        start, size = int(self.starts[column, index]), int(self.sizes[column, index])
        if size < 0:
            return self.constant(index).get(name)
        return self.data[start : start + size].tobytes().decode("ascii")

    def constant(self, index: int) -> Mapping[str, str]:
        """Return the constants of one call."""
        return next((each.texts for each in self.constants if index < each.stop), {})

    def field(self, name: str) -> Texts:
        """Return one field of all calls; calls in `fallback` have none here."""
        column = _COLUMNS.index(name)
        return Texts(self.data, self.starts[column], self.sizes[column])


@dataclass(frozen=True, slots=True)
class ScannedKeyFields(Sequence[KeyFields]):
    """Key fields that are made when they are read: nearly all calls never need them."""

    located: Located

    def __len__(self) -> int:
        return int(self.located.starts.shape[1])

    @overload
    def __getitem__(self, index: int) -> KeyFields: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[KeyFields]: ...
    def __getitem__(self, index: int | slice) -> KeyFields | Sequence[KeyFields]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        located = self.located
        decoded = located.fallback.get(index)
        if decoded is not None:
            return decoded
        # A call id is never None: the scan leaves a record without one to the fallback decoder.
        return KeyFields(*(located.text(name, index) for name in _COLUMNS))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class CallBatch:
    """The calls of a `RawBatch`, and the records that were none.

    `key_fields`, `callers`, `callees` and `rows` have one item per call; `rows` int64 says which
    row of `raw` a call came from. `located` is where the scan found the fields, None where the
    fallback decoder read all. `callees` is None where called numbers are not checked. `call_of(i)`
    decodes call i whole, `started_at_s(i)` says when it began: only worth their price where a
    decision is published.
    """

    raw: RawBatch
    key_fields: Sequence[KeyFields]
    rows: NDArray[np.int64]
    callers: Numbers
    callees: Numbers | None
    rejected: Sequence[Rejected]
    call_of: Callable[[int], Call]
    started_at_s: Callable[[int], float | None]
    located: Located | None = None

    def __len__(self) -> int:
        return len(self.key_fields)

    def text(self, name: str, index: int) -> str | None:
        """Return one key field of one call, without making the others."""
        if self.located is not None:
            return self.located.text(name, index)
        text: str | None = getattr(self.key_fields[index], name)
        return text

    def places(
        self, field: str, known: Sequence[str], calls: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the place in `known` of `field` of each of `calls` (ascending); -1: not there."""
        if not known or not len(calls):
            return np.full(len(calls), -1)
        place_of = {name: place for place, name in enumerate(known)}
        located = self.located
        if located is None:
            said = (getattr(self.key_fields[call], field) for call in calls.tolist())
            return np.array([place_of.get(text, -1) for text in said], np.int64)
        texts = located.field(field)
        sizes = texts.sizes[calls]
        found = Texts(texts.data, texts.starts[calls], sizes).places_in(known)
        start = 0
        for constants in located.constants:
            first, last = np.searchsorted(calls, [start, constants.stop])
            where = first + np.flatnonzero(sizes[first:last] < 0)
            found[where] = place_of.get(constants.texts.get(field, ""), -1)
            start = constants.stop
        for place in (
            np.flatnonzero(np.isin(calls, [*located.fallback])).tolist() if located.fallback else ()
        ):
            text = getattr(located.fallback[int(calls[place])], field)
            found[place] = place_of.get(text, -1)
        return found

    @property
    def unscanned(self) -> int:
        """Number of calls that the scan left to the fallback decoder, which is ten times slower."""
        return len(self) if self.located is None else len(self.located.fallback)


class DecisionLabels(NamedTuple):
    """A label set of the decision counter: `list` is "" where no list decided."""

    verdict: Verdict
    rule: str
    list: str
    simulated: bool


class OutOfScope(NamedTuple):
    """A label set of the counter of matches that a list may not have: by `list_scope.Outside`."""

    list: str
    reason: str
    confirmed: bool


@dataclass(slots=True)
class BatchTally:
    """Counts of one batch, for the metrics; every call is in `decisions` exactly once."""

    decisions: Counter[DecisionLabels] = field(default_factory=Counter)
    unconfirmed: Counter[str] = field(default_factory=Counter)
    observed: Counter[str] = field(default_factory=Counter)
    unasked_calls: int = 0
    unscanned_calls: int = 0
    repeats_marked: int = 0
    repeats_left_out: int = 0
    bursts_forgotten: int = 0
    outside: Counter[OutOfScope] = field(default_factory=Counter)


_NO_CALLS: NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Decisions of one batch as they are published, and its records that were no calls.

    `ids` S16 are the decision ids, `keys` S16 the Kafka record keys (the deciding number, b"" if
    there is none). `values` are the JSON, `rows` int64 the batch rows of the calls. `contexts` are
    the headers that decisions carry on, one item each; nothing where none does.
    """

    ids: NDArray[np.bytes_]
    keys: NDArray[np.bytes_]
    values: Texts
    rejected: Sequence[Rejected] = ()
    tally: BatchTally = field(default_factory=BatchTally)
    rows: NDArray[np.int64] = field(default_factory=lambda: _NO_CALLS)
    contexts: Sequence[Headers] = ()
