"""Checks of the exercise: functions from observations to what was expected and seen.

Pure, and each can fail: tests/unit/lab/exercise shows each of them a broken outcome. What
was not seen (no answer, no figure) never holds.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from stream.lab.demo.product import Said
from stream.lab.exercise.phone import Answers, CallAnswer

SECOND_MS = 1000
SEEN_CHARS_MAX = 70


class Check(NamedTuple):
    """One check that was made."""

    expected: str
    seen: str
    held: bool


def all_get(
    answers: Answers, verdict: str, expected: str, *, rule: str = "", named: str = ""
) -> Check:
    """Every call got `verdict`; by `rule` and for the list `named`, where those are given."""
    right = [
        number
        for number, answer in answers.items()
        if answer is not None
        and answer.verdict == verdict
        and rule in ("", answer.rule)
        and (not named or named in answer.lists)
    ]
    seen = f"{len(right)} of {len(answers)}"
    wrong = next((one for number, one in answers.items() if number not in right), None)
    if len(right) < len(answers):
        seen += "; not decided" if wrong is None else f"; another: {_in_words(wrong)}"
    return Check(expected, seen, bool(answers) and len(right) == len(answers))


def nobody_stopped(answers: Answers, expected: str) -> Check:
    """Every call was decided, and none was blocked or flagged."""
    stopped = sum(answer is not None and answer.stopped for answer in answers.values())
    undecided = sum(answer is None for answer in answers.values())
    seen = f"{stopped} of {len(answers)} stopped"
    if undecided:
        seen += f", {undecided} not decided"
    return Check(expected, seen, bool(answers) and not stopped and not undecided)


def became(answers: Sequence[CallAnswer], verdict: str, since_ms: int, expected: str) -> Check:
    """The last of a row of calls got `verdict`; says how long after `since_ms` that was decided."""
    if not answers:
        return Check(expected, "no call was decided", False)
    last = answers[-1]
    if last.verdict != verdict:
        return Check(expected, f"still {_in_words(last)} after {len(answers)} calls", False)
    return Check(expected, f"after {_seconds(last.decided_ms - since_ms)}", True)


def ended_on_time(answers: Sequence[CallAnswer], end_ms: int, expected: str) -> Check:
    """Stopped before `end_ms`, not any more a second after it; both were seen."""
    before = [one for one in answers if one.decided_ms < end_ms]
    after = [one for one in answers if one.decided_ms >= end_ms + SECOND_MS]
    late = [one for one in after if one.stopped]
    early = [one for one in before if not one.stopped]
    seen = f"before: {len(before) - len(early)} of {len(before)} stopped; "
    seen += f"from a second after it: {len(late)} of {len(after)}"
    return Check(expected, seen, bool(before) and bool(after) and not early and not late)


def command(said: Said, code: int, words: str, expected: str) -> Check:
    """A command ended with `code` and printed `words`."""
    line = next((line.strip() for line in said.text.splitlines() if words in line), "")
    if said.code == code and line:
        return Check(expected, _cut(line), True)
    last = (said.text.strip().splitlines() or ["nothing"])[-1]
    return Check(expected, _cut(f"exit code {said.code}: {last}"), False)


def reached(seen: float | None, least: float, expected: str, what: str) -> Check:
    """A metric is at least so much; `what` is its name."""
    told = f"{what}: not told" if seen is None else f"{what} {seen:g}"
    return Check(expected, told, seen is not None and seen >= least)


def equal(told: float | None, known: int, expected: str) -> Check:
    """A figure is what is known to be true; that nothing happened shows nothing."""
    seen = f"{'nothing' if told is None else f'{told:g}'} of {known}"
    return Check(expected, seen, told == known > 0)


def same_processes(before: Mapping[str, int], after: Mapping[str, int], expected: str) -> Check:
    """The same processes as before, by pid; there is at least one."""
    others = sorted(name for name, pid in before.items() if after.get(name) != pid)
    seen = f"{', '.join(others)} ended or restarted" if others else f"{len(after)} run on"
    return Check(expected, seen, bool(before) and not others)


def lasts(expiries_s: Collection[int], now_s: int, least_s: int, expected: str) -> Check:
    """Nothing expires within `least_s`; `expiries_s` are seconds since the epoch."""
    if not expiries_s:
        return Check(expected, "no expiry was found", False)
    left_s = min(expiries_s) - now_s
    seen = f"the first signature to expire has {left_s / 3600:.1f} h left"
    return Check(expected, seen, left_s >= least_s)


def _cut(text: str) -> str:
    return text if len(text) <= SEEN_CHARS_MAX else f"{text[: SEEN_CHARS_MAX - 4]} ..."


def _in_words(answer: CallAnswer) -> str:
    by = f" by {answer.rule}" if answer.rule else ""
    return f"{answer.verdict}{by}"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f} s"
