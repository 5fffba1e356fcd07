"""Byte strings in one buffer, as columns: what a batch of records, fields or decisions is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

PADDING = 64
"""Readable bytes that every buffer has after its last text. So a kernel may load whole vectors and
read beyond the text only to discard it."""


@dataclass(frozen=True, slots=True, eq=False)
class Texts(Sequence[bytes | None]):
    """Text i is the `sizes[i]` bytes of `data` from `starts[i]`; a size below 0 means none.

    `data` uint8, with `PADDING` more bytes than the last text needs; `starts`, `sizes` int64. The
    buffer may be one that is filled again for the next batch: to keep a text take it out by index,
    which copies.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[bytes | memoryview | None]) -> Self:
        """Return the same texts, copied one after the other."""
        held = list(texts)
        parts = [b"" if text is None else text for text in held]
        sizes = np.array([-1 if text is None else len(text) for text in held], np.int64)
        lengths = np.maximum(sizes, 0)
        joined = b"".join([*parts, bytes(PADDING)])
        return cls(np.frombuffer(joined, np.uint8), np.cumsum(lengths) - lengths, sizes)

    def __len__(self) -> int:
        return len(self.starts)

    def places_in(self, known: Sequence[str]) -> NDArray[np.int64]:
        """Return each text's place in `known`, -1 if it is not there. Needs compiled kernels."""
        from stream.core.kernels.write_decisions import find_texts

        names = Texts.of([name.encode() for name in known])
        found = np.empty(len(self), np.int64)
        find_texts(
            (self.data, self.starts, self.sizes), (names.data, names.starts, names.sizes), found
        )
        return found

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> bytes | Self | None:
        if isinstance(index, slice):
            return type(self)(self.data, self.starts[index], self.sizes[index])
        start, size = int(self.starts[index]), int(self.sizes[index])
        return None if size < 0 else self.data[start : start + size].tobytes()

    def __iter__(self) -> Iterator[bytes | None]:
        for view in self.views():
            yield None if view is None else view.tobytes()

    def views(self) -> Iterator[memoryview | None]:
        """Yield the texts where they lie: good until the buffer is filled again."""
        # `tolist` once: numbers taken from NumPy one by one cost several times as much.
        data = self.data.data
        for start, size in zip(self.starts.tolist(), self.sizes.tolist(), strict=True):
            yield None if size < 0 else data[start : start + size]
