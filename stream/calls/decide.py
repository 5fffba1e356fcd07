"""Calls in, decisions out: the only place where a call is blocked, flagged or let through.

`calls.rulings` rules on the calls that a list or rule matched, `calls.encode` writes their JSON.
Lookups for SIP take the columns alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import BatchTally, CallBatch, DecisionLabels, Outcome
from stream.calls.deduplicate import Deduplicator, marked
from stream.calls.encode import NO_TIME, DecisionColumns, encode
from stream.calls.plausibility.attestations import Verify
from stream.calls.plausibility.bursts import Bursts
from stream.calls.ruling_columns import CALLEE, FIXED_RULES, NO_RULE, RuleNames, Rulings
from stream.calls.rulings import Rules, rulings_of
from stream.core.filters.blocklists import Blocklists
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Rejected
from stream.core.model.decision import VERDICT_OF, Action, Verdict, decision_ids, seed_of
from stream.core.model.entry import NEVER

__all__ = ["Decided", "Rules", "Verify", "decide"]  # callers of `decide` make the rules

_NO_CALLS: NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """Decisions of one batch before they are JSON; `columns` is None where there are none.

    `keys` S16 are the deciding numbers, b"" where there is none. `marks` are by place in `columns`,
    for decisions whose call was decided before: see `deduplicate.marked`.
    """

    columns: DecisionColumns | None
    keys: NDArray[np.bytes_]
    marks: Mapping[int, bytes]
    rejected: Sequence[Rejected]
    tally: BatchTally

    def outcome(self) -> Outcome:
        """Return the decisions as JSON with their keys."""
        columns = self.columns
        if columns is None:
            return Outcome(_NO_BYTES, _NO_BYTES, _NO_TEXTS, self.rejected, self.tally)
        values = encode(columns)
        if self.marks:
            values = marked(values, self.marks)
        rows = columns.batch.rows[columns.calls]
        return Outcome(columns.ids, self.keys, values, self.rejected, self.tally, rows)


def decide(
    batch: CallBatch,
    blocklists: Blocklists,
    rules: Rules,
    now_ms: int,
    deduplicator: Deduplicator | None = None,
    bursts: Bursts | None = None,
) -> Decided:
    """Decide every call of `batch` at `now_ms`, milliseconds since the epoch.

    `deduplicator` remembers which calls were decided, so that other records of them are marked.
    `bursts` remembers which numbers made many short ones; without it that rule is not evaluated.
    """
    tally = BatchTally(unscanned_calls=batch.unscanned)
    rulings = rulings_of(batch, blocklists, rules, now_ms // 1000, tally, bursts)
    if bursts is not None:
        tally.bursts_forgotten, bursts.forgotten = bursts.forgotten, 0
    _count(rulings, len(batch), rules.rule_names, tally)
    if not rules.emit_all:
        plain = _NO_CALLS
        if len(rulings):
            rulings = rulings.at(np.flatnonzero(rulings.actions > Action.OBSERVE))
    elif len(rulings):
        innocent = np.ones(len(batch), np.bool_)
        innocent[rulings.calls] = False
        plain = np.flatnonzero(innocent)
    else:
        plain = np.arange(len(batch))
    # Nearly every batch ends here: no list holds any of its numbers.
    if not len(rulings) and not len(plain):
        return Decided(None, _NO_BYTES, {}, batch.rejected, tally)
    marks: Mapping[int, bytes] = {}
    if deduplicator is not None and len(rulings) and deduplicator.concern(batch.raw):
        # Its ids are needed before it is known which rulings stay; so they are made twice here.
        numbers = _deciding_numbers(batch, rulings, _NO_CALLS)
        ids = _ids(batch, rulings.calls, numbers)
        kept, marks = deduplicator.look(batch, rulings, ids, numbers)
        tally.repeats_marked += len(marks)
        tally.repeats_left_out += len(rulings) - len(kept)
        rulings = rulings.at(kept)
    calls, ruled = plain, np.full(len(plain), -1)
    if len(rulings):
        calls = np.concatenate([rulings.calls, plain])
        ruled = np.concatenate([np.arange(len(rulings)), ruled])
    keys = _deciding_numbers(batch, rulings, plain)
    ids = _ids(batch, calls, keys)
    expires_at_s_max = now_ms // 1000 + rules.policy.settings.decision_ttl_s
    columns = DecisionColumns(
        batch=batch,
        calls=calls,
        ids=ids,
        ruled=ruled,
        rulings=rulings,
        called_at_ms=_called_at_ms(batch, rulings),
        expires_at_ms=_expires_at_s(rulings, expires_at_s_max) * 1000,
        blocklists=blocklists,
        rule_names=rules.rule_names,
        sip=rules.sip,
        decided_at_ms=now_ms,
    )
    return Decided(columns, keys, marks, batch.rejected, tally)


_NO_BYTES = np.zeros(0, "S16")
_NO_TEXTS = Texts.of(())
_PASSING = DecisionLabels(Verdict.ALLOW, FIXED_RULES[NO_RULE], "", simulated=False)


def _count(rulings: Rulings, calls: int, rule_names: RuleNames, tally: BatchTally) -> None:
    """Count each of `calls` once, by what happens to it and why."""
    passing = calls - len(rulings)
    if passing:
        tally.decisions[_PASSING] += passing
    if not len(rulings):
        return
    # Rule, trial and action (0 to 2) as one number each, so that one pass counts all labels.
    kinds = np.bincount((rulings.rules * 2 + rulings.simulated) * 4 + rulings.actions)
    for kind in np.flatnonzero(kinds).tolist():
        rule, simulated, action = kind // 8, bool(kind // 4 % 2), Action(kind % 4)
        counted = DecisionLabels(
            verdict=Verdict.ALLOW if simulated else VERDICT_OF[action],
            rule=rule_names.rules[rule],
            list=rule_names.lists[rule],
            simulated=simulated,
        )
        tally.decisions[counted] += int(kinds[kind])


def _deciding_numbers(
    batch: CallBatch, rulings: Rulings, plain: NDArray[np.int64]
) -> NDArray[np.bytes_]:
    """S16: the number that decided each ruled call, then the callers of the plain ones."""
    # A quiet worker's batch is one innocent call: each NumPy call that is left out shows.
    if not len(rulings):
        return batch.callers.e164[plain].astype("S16", copy=False)
    keys = batch.callers.e164[rulings.calls]
    called = np.flatnonzero(rulings.roles == CALLEE)
    if len(called):
        assert batch.callees is not None, "called numbers decide only where they are read"
        keys[called] = batch.callees.e164[rulings.calls[called]]
    return np.concatenate([keys, batch.callers.e164[plain]]).astype("S16", copy=False)


def _called_at_ms(batch: CallBatch, rulings: Rulings) -> NDArray[np.int64]:
    """Read when each ruled call was made: a record is read again for nothing else."""
    if not len(rulings):
        return _NO_CALLS
    times = map(batch.started_at_s, rulings.calls.tolist())
    return np.array([NO_TIME if at_s is None else round(at_s * 1000) for at_s in times], np.int64)


def _expires_at_s(rulings: Rulings, at_s_max: int) -> NDArray[np.int64]:
    """Return when each decision expires: with its deciding entry, at `at_s_max` at the latest."""
    if not len(rulings):
        return _NO_CALLS
    expires = np.full(len(rulings), NEVER, np.int64)
    by_list = np.flatnonzero(rulings.deciding >= 0)
    expires[by_list] = rulings.matches.expires_at_s[rulings.deciding[by_list]]
    return np.where(expires == NEVER, at_s_max, np.minimum(expires, at_s_max))


def _ids(
    batch: CallBatch, calls: NDArray[np.int64], numbers: NDArray[np.bytes_]
) -> NDArray[np.bytes_]:
    rows, raw = batch.rows[calls], batch.raw
    seeds = [_seed_of(one.partition.topic, one.partition.number) for one in raw.segments]
    if len(seeds) == 1:
        by_call = np.full(len(rows), seeds[0], np.uint64)
    else:
        lengths = [one.stop - one.start for one in raw.segments]
        by_call = np.repeat(np.array(seeds, np.uint64), lengths)[rows]
    return decision_ids(by_call, raw.offsets[rows], raw.timestamps_ms[rows], numbers)


# One of blake2b for each partition that a worker reads; bounded, as topics come and go.
_seed_of = lru_cache(maxsize=4096)(seed_of)
