"""What plausibility rules cost: CPU per record of 288 bytes, read and decided, one thread.

Compared: no rule on, each alone, and all, on the same batch of 8,000 CDRs with two lists, none of
whose callers breaks a rule: what is added is looking. A call that breaks one costs its decision.

No target: DECISIONS.md quotes it.
"""

import time
from dataclasses import fields

import numpy as np

from stream.calls.batch import Partition, RawBatch, Segment
from stream.calls.decide import Rules, decide
from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.one_by_one import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.decision import Action, SipSettings
from stream.core.emergency import EmergencyNumbers
from stream.core.policy import PolicySettings, RuleSettings, compile_policy
from stream.core.texts import Texts
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row
from tests.bench.traffic import traffic
from tests.builders import NOW_S, blocklists, live

RECORDS = 8_000
TURNS = 20
LISTS = blocklists(live("XA/first", "+447700900100"), live("XB/second", "+447700900101"))
TRUNKS = Trunks("LA")


async def run(lab: Lab) -> list[Report]:
    """Measure all, in interleaved rounds."""
    lab.say(f"Ringfence's functions are used {lab.kernels}")
    with on_core(lab.cores.engine):
        return [_measured(lab)]


def _measured(lab: Lab) -> Report:
    records = traffic(RECORDS, 1000, seed=288).records(0, RECORDS)
    segments = (Segment(Partition("calls", 0), 0, RECORDS),)
    times_ms = np.full(RECORDS, NOW_S * 1000)
    raw = RawBatch(Texts.of(records), np.arange(RECORDS), times_ms, segments, 1)
    names = [each.name for each in fields(RuleSettings)]
    chosen = {"no rule": (), **{name: (name,) for name in names}, "all rules": names}
    ways = {way: _rules(dict.fromkeys(on, Action.FLAG)) for way, on in chosen.items()}
    rounds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(lab.scale.rounds * TURNS + 1):
        for way, rules in ways.items():
            start = time.thread_time()
            batch = decode(raw, {"calls": RINGFENCE}, TRUNKS, DecodeSettings(1 << 20, True))
            assert not len(decide(batch, LISTS, rules, NOW_S * 1000).ids)
            if turn:
                rounds[way].append((time.thread_time() - start) / RECORDS * 1e9)
    rows = [Row(way, {"CPU ns per record": values}) for way, values in rounds.items()]
    return Report("rules", rows, notes=[f"Ringfence {lab.kernels}"])


def _rules(on: dict[str, Action]) -> Rules:
    policy = compile_policy(PolicySettings(rules=RuleSettings(**on)), LISTS.names)
    sip = SipSettings("https://redress.example/{decision_id}", "TN")
    return Rules(policy, EmergencyNumbers({}), TRUNKS, sip, emit_all=False)
