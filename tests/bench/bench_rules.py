"""The cost of plausibility rules: CPU per record of 288 bytes, read and decided, one thread.

Compared: no rule on, each alone, all, and all with other states by country and on each trunk, on
the same batch of 8,000 CDRs with four lists, two of which rules ask. No caller breaks a rule: what
is added is looking. A call that breaks one costs its decision.

`short_bursts` begins each time with nothing; "every number watched" is what it costs at worst, when
all callers have called often lately and every record is read for its duration.

No target: docs/decisions quotes it.
"""

import time
from dataclasses import replace

import numpy as np

from stream.calls.call_batch import CallBatch
from stream.calls.decide import Rules, decide
from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.plausibility.bursts import Bursts
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunk, Trunks
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Ingress
from stream.core.model.decision import SipAnswerSettings
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.core.policy.rules import RULES, BurstSettings, RuleSettings, RuleState, RuleStates
from stream.kafka.batch import Partition, RawBatch, Segment
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row
from tests.bench.traffic import traffic
from tests.support.builders import NOW_S, blocklists, live

RECORDS = 8_000
TURNS = 20
WARM = 3
"""Turns after which every number of the batch is watched."""
WATCHED = "short_bursts, every number watched"
LISTS = blocklists(
    live("XA/first", "+447700900100"),
    live("XB/second", "+447700900101"),
    live("XC/never-call", "+447700900102"),
    live("XD/roaming", "+447700900103"),
)
NAMES = [f"intl-bkk-{place:02d}" for place in range(20)]
TRUNKS = Trunks("LA", {name: Trunk("SG", Ingress.INTERNATIONAL) for name in NAMES})
NEVER_CALL, MAY_ROAM = ("XC/never-call",), ("XD/roaming",)
OFF = dict.fromkeys(RULES, RuleState.OFF)
DIFFERENT = RuleSettings(
    RuleStates(**dict.fromkeys(RULES, RuleState.FLAG)),
    countries={"SG": dict.fromkeys(RULES, RuleState.BLOCK)},
    trunks={name: dict.fromkeys(RULES, RuleState.SIMULATE) for name in NAMES},
    do_not_originate_lists=NEVER_CALL,
    home_number_from_abroad_except=MAY_ROAM,
)


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
    ways = {
        "no rule": RuleSettings(RuleStates(**OFF)),
        **{rule: _alone(rule) for rule in RULES},
        "all rules": replace(DIFFERENT, countries={}, trunks={}),
        "all rules, by country and trunk": DIFFERENT,
        WATCHED: _alone("short_bursts"),
    }
    compiled = {way: _rules(settings) for way, settings in ways.items()}
    often = Bursts(BurstSettings(), ["calls"])
    rounds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(lab.scale.rounds * TURNS + 1):
        for way, rules in compiled.items():
            bursts = often if way == WATCHED else Bursts(BurstSettings(), ["calls"])
            start = time.thread_time()
            batch = _decoded(raw)
            assert not len(decide(batch, LISTS, rules, NOW_S * 1000, None, bursts).outcome().ids)
            if turn > WARM:
                rounds[way].append((time.thread_time() - start) / RECORDS * 1e9)
    rows = [Row(way, {"CPU ns per record": values}) for way, values in rounds.items()]
    return Report("rules", rows, notes=[f"Ringfence {lab.kernels}"])


def _decoded(raw: RawBatch) -> CallBatch:
    return decode(raw, {"calls": RINGFENCE}, TRUNKS, DecodeSettings(1 << 20, True))


def _alone(rule: str) -> RuleSettings:
    return RuleSettings(
        RuleStates(**OFF | {rule: RuleState.FLAG}),
        do_not_originate_lists=NEVER_CALL if rule == "do_not_originate" else (),
        home_number_from_abroad_except=MAY_ROAM if rule == "home_number_from_abroad" else (),
    )


def _rules(settings: RuleSettings) -> Rules:
    policy = compile_policy(PolicySettings(rules=settings), LISTS.names)
    sip = SipAnswerSettings("https://redress.example/{decision_id}", "TN")
    return Rules(policy, EmergencyNumbers({}), TRUNKS, sip, emit_all=False)
