"""The two values that stand between the steps: raw records, and the calls that were in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.core.model.byte_strings import Texts
from stream.core.model.call import Call, Rejected
from stream.core.numbers.number import Numbers
from stream.kafka.batch import RawBatch


class Glance(msgspec.Struct, gc=False):
    """The few fields that a decision about an innocent call needs; the rest is not even decoded."""

    call_id: str
    caller: str | None
    callee: str | None
    trunk: str | None = None
    ingress: str | None = None


FIELDS = ("call_id", "caller", "callee", "trunk", "ingress")
"""The fields of a `Glance`, in the order of the columns of `Located`."""


class Constants(NamedTuple):
    """Fields that a dialect knows without looking, of all calls up to `stop` that come before."""

    stop: int
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Where the fields of calls lie in the buffer that holds their records.

    `starts`, `sizes` int64[len(FIELDS), calls]: the bytes between the quotation marks, which are
    printable ASCII without escapes, so they may be written into JSON as they are. A size of -1
    stands for null, for an absent field, for one of `constants`, and for a whole call that the scan
    left to the ordinary decoder: `odd` has the glances of those, by index of the call.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    odd: Mapping[int, Glance]
    constants: Sequence[Constants] = ()

    def glances(self) -> "Glances":
        """The calls as glances."""
        return Glances(self)

    def text(self, name: str, index: int) -> str | None:
        """One field of one call, of whichever kind the call is."""
        odd = self.odd.get(index)
        if odd is not None:
            text: str | None = getattr(odd, name)
            return text
        column = FIELDS.index(name)
        start, size = int(self.starts[column, index]), int(self.sizes[column, index])
        if size < 0:
            return self._constant(index).get(name)
        return self.data[start : start + size].tobytes().decode("ascii")

    def _constant(self, index: int) -> Mapping[str, str]:
        return next((each.texts for each in self.constants if index < each.stop), {})

    def field(self, name: str) -> Texts:
        """One field of all calls; calls in `odd` have none here."""
        column = FIELDS.index(name)
        return Texts(self.data, self.starts[column], self.sizes[column])


@dataclass(frozen=True, slots=True)
class Glances(Sequence[Glance]):
    """Glances that are made only where somebody looks: of nearly all calls nobody does."""

    located: Located

    def __len__(self) -> int:
        return int(self.located.starts.shape[1])

    @overload
    def __getitem__(self, index: int) -> Glance: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Glance]: ...
    def __getitem__(self, index: int | slice) -> Glance | Sequence[Glance]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        located = self.located
        odd = located.odd.get(index)
        if odd is not None:
            return odd
        texts: list[str | None] = []
        for start, size in zip(
            located.starts[:, index].tolist(), located.sizes[:, index].tolist(), strict=True
        ):
            end = start + size
            texts.append(None if size < 0 else located.data[start:end].tobytes().decode("ascii"))
        glance = Glance(*texts)  # type: ignore[arg-type]
        for name, text in located._constant(index).items():  # noqa: SLF001
            setattr(glance, name, text)
        return glance


@dataclass(frozen=True, slots=True)
class CallBatch:
    """The calls of a `RawBatch`, and the records that were none.

    `glances`, `callers`, `callees` and `rows` have one item per call; `rows` int64 says which row
    of `raw` a call came from. `located` is where the scan found the fields, None where the ordinary
    decoder read all. `callees` is None where called numbers are not checked. `call_of(i)`
    decodes call i whole, `started_at_s(i)` says when it began: only worth their price where a
    decision is published.
    """

    raw: RawBatch
    glances: Sequence[Glance]
    rows: NDArray[np.int64]
    callers: Numbers
    callees: Numbers | None
    rejected: Sequence[Rejected]
    call_of: Callable[[int], Call]
    started_at_s: Callable[[int], float | None]
    located: Located | None = None

    def __len__(self) -> int:
        return len(self.glances)

    @property
    def unscanned(self) -> int:
        """How many calls the scan left to the ordinary decoder, which is ten times slower."""
        return len(self) if self.located is None else len(self.located.odd)
