"""What is refused in the columns of a snapshot: values without a meaning, and rows out of order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.core.model.entry import DIGITS_END, PREFIX_MARK
from stream.core.model.errors import SnapshotUnreadable

Values = NDArray[np.unsignedinteger[Any]]


class ColumnsCheck:
    """Takes the columns one after the other, fingerprints before sources, in pieces.

    What it keeps is a bit a row: whether that row's fingerprint is that of the row before, which
    then must have a smaller source. `numbers` and `prefixes` count distinct numbers, and rows of
    prefix entries, so far. `where` begins the messages. Every method raises `SnapshotUnreadable`.
    """

    def __init__(self, rows: int, where: str) -> None:
        self.numbers = 0
        self.prefixes = 0
        self._where = where
        self._again = np.zeros((rows + 7) // 8, np.uint8)
        self._rows = {"fingerprint": 0, "source": 0}
        self._last = {"fingerprint": -1, "source": -1}

    def range_of(self, name: str, values: Values, largest: int) -> None:
        """Refuse a value above the largest that means something."""
        found = int(values.max())
        if found > largest and name == "source":
            self._refuse(name, f"source {found} is not in the manifest")
        if found > largest:
            self._refuse(name, f"{found}, the largest that means something is {largest}")

    def take(self, name: str, values: Values) -> None:
        """The next piece of column `name`; all but the last have a multiple of eight rows."""
        if name == "fingerprint":
            self._take_fingerprints(values)
        elif name == "number":
            self._take_codes(values)
        elif name == "source":
            self._take_sources(values)

    def _take_fingerprints(self, values: Values) -> None:
        start, last = self._rows["fingerprint"], self._last["fingerprint"]
        if int(values[0]) < last or not bool(np.all(values[1:] >= values[:-1])):
            self._refuse("fingerprint", "fingerprints are not in order")
        again = np.empty(len(values), np.bool_)
        again[0] = int(values[0]) == last
        np.equal(values[1:], values[:-1], out=again[1:])
        bits = np.packbits(again, bitorder="little")
        self._again[start // 8 : start // 8 + len(bits)] = bits
        self.numbers += len(values) - int(np.count_nonzero(again))
        self._rows["fingerprint"], self._last["fingerprint"] = start + len(values), int(values[-1])

    def _take_codes(self, values: Values) -> None:
        marked = values >= PREFIX_MARK
        self.prefixes += int(np.count_nonzero(marked))
        wrong = ~marked & (values >= DIGITS_END) | (values == PREFIX_MARK)
        if wrong.any():
            self._refuse("number", f"{int(values[wrong][0])} is neither a number nor a prefix")

    def _take_sources(self, values: Values) -> None:
        start, last = self._rows["source"], self._last["source"]
        bits = self._again[start // 8 : (start + len(values) + 7) // 8]
        again = np.flatnonzero(np.unpackbits(bits, count=len(values), bitorder="little"))
        before = values[again - 1].astype(np.int64)
        before[again == 0] = last
        if bool(np.any(values[again] <= before)):
            self._refuse("source", "a number has a source twice, or its sources are out of order")
        self._rows["source"], self._last["source"] = start + len(values), int(values[-1])

    def _refuse(self, name: str, why: str) -> None:
        raise SnapshotUnreadable(f"{self._where}{name}: {why}")
