"""Decisions of one partition as they are counted. Values only."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from stream.core.model.delays import Delays
from stream.core.model.enforcement import Counts, Outcome, Versions


class Progress(NamedTuple):
    """How far a partition is counted: the next offset, and the next place among the ids kept.

    `offset` None: nothing of it was counted yet.
    """

    offset: int | None = None
    place: int = 0


class Cell(NamedTuple):
    """What calls are counted by, beside their outcome."""

    list: str
    day: date
    category: str


@dataclass(slots=True)
class Batch:
    """What decisions come to. `ids` of those counted, 8 bytes each; `numbers` by fingerprint;
    `stopped`: when the first call of each of a list's numbers was blocked or flagged, ms.
    """

    ids: list[bytes] = field(default_factory=list)
    calls: Counter[tuple[Cell, Outcome]] = field(default_factory=Counter)
    numbers: dict[Cell, set[int]] = field(default_factory=dict)
    stopped: dict[tuple[str, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted of a list on a day; the `..._steps` are counts by step of `core.delays`.

    `peaks`: the greatest of `in_force` and `first` (ms) and `stale` (s). `followed`: a feed of ours
    brings the list. `counted`: decisions are counted here at all.
    """

    by_category: Mapping[str, Counts]
    in_force_steps: Mapping[int, int]
    first_steps: Mapping[int, int]
    peaks: Mapping[str, int]
    verdicts: Mapping[str, int]
    followed: bool
    counted: bool

    def in_force(self, target_s: int | None) -> Delays | None:
        """From the owner's publication until it was live here."""
        return Delays.counted(self.in_force_steps, self.peaks.get("in_force", 0) / 1000, target_s)

    def first_stopped(self) -> Delays | None:
        """From the owner's publication to the first call stopped."""
        return Delays.counted(self.first_steps, self.peaks.get("first", 0) / 1000, None)

    def versions(self) -> Versions | None:
        """How the list's versions fared; None: nobody follows it here."""
        if not self.followed and not self.verdicts:
            return None
        return Versions(
            accepted=self.verdicts.get("accepted", 0),
            held=self.verdicts.get("held", 0),
            refused=self.verdicts.get("refused", 0),
            stale_s_max=self.peaks.get("stale"),
        )
