"""What things on trial would have done, from the decisions that were published. Pure.

Bounded: numbers are remembered as hashes, up to `NUMBERS_MAX` of each thing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from stream.core.model.decision import Decision, Verdict
from stream.core.model.trials import Kind, Target

NUMBERS_MAX: Final = 100_000


@dataclass(slots=True)
class Tried:
    """One thing. `would_block` and `would_flag` are calls that went on because it is on trial;
    `stopped` calls that it speaks of and that something in force blocked or flagged.

    `numbers` are hashes of the numbers of the former; `more_numbers`: there are others besides.
    """

    would_block: int = 0
    would_flag: int = 0
    stopped: int = 0
    numbers: set[int] = field(default_factory=set)
    more_numbers: bool = False
    enforced_numbers: set[int] = field(default_factory=set)

    @property
    def numbers_also_enforced(self) -> int:
        """How many of the numbers something in force stopped in other calls."""
        return len(self.numbers & self.enforced_numbers)

    def plain(self) -> dict[str, int]:
        """The figures by name, for JSON and the audit."""
        return {
            "would_block": self.would_block,
            "would_flag": self.would_flag,
            "numbers": len(self.numbers),
            "stopped": self.stopped,
            "numbers_also_enforced": self.numbers_also_enforced,
        }


@dataclass(slots=True)
class Figures:
    """Of all things that decisions name; `decisions` were looked at."""

    tried: dict[Target, Tried] = field(default_factory=dict)
    decisions: int = 0

    def add(self, decision: Decision) -> None:
        """Count one decision; a repeat of another about the same call says nothing new."""
        self.decisions += 1
        if isinstance(decision.repeats, str):
            return
        for target in named(decision):
            self._count(self.tried.setdefault(target, Tried()), decision)

    def of(self, target: Target) -> Tried:
        """What is known of one thing."""
        return self.tried.get(target, Tried())

    def _count(self, tried: Tried, decision: Decision) -> None:
        if decision.simulated:
            tried.would_block += decision.would == Verdict.BLOCK
            tried.would_flag += decision.would == Verdict.FLAG
            tried.more_numbers |= not _remember(tried.numbers, decision.number)
        elif decision.verdict != Verdict.ALLOW:
            tried.stopped += 1
            _remember(tried.enforced_numbers, decision.number)


def named(decision: Decision) -> Iterator[Target]:
    """Everything that a decision names and that can be on trial, each once."""
    yield from dict.fromkeys(_named(decision))


def _named(decision: Decision) -> Iterable[Target]:
    for reason in decision.reasons:
        yield Target(Kind.LIST, reason.list)
        if reason.agreement is not None:
            yield Target(Kind.AGREEMENT, reason.agreement)
    target = Target.read(decision.rule)
    if target is not None:
        yield target


def _remember(numbers: set[int], number: str | None) -> bool:
    """Whether there was room for it."""
    if number is None:
        return True
    if len(numbers) >= NUMBERS_MAX:
        return hash(number) in numbers
    numbers.add(hash(number))
    return True
