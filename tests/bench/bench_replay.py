"""The rate at which recorded calls are replayed against a candidate, beside the engine's own rate.

Compared, rounds interleaved: `ringfence run` deciding a preloaded topic of CDRs (64 lists of 1M
numbers, decisions for blocks, as in bench_throughput.py), and `ringfence replay`, the command as an
operator types it, on the same topic, lists and core. The replay decides every record twice:

- against itself: production in place of the candidate, so that nothing differs;
- against a policy that blocks what production only observes: 2 % of the calls are newly blocked,
  each is decoded whole for the estimate of false positives, and all calls are read once more to
  find calls back.

The rate is that of deciding; the second row has the pass for calls back besides, as a rate of its
own. The start (0.5 to 3 s, mostly the kernels and the lists) counts for nobody.

Target: at least the engine's own rate, when nothing differs and when 2 % do.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.bench import snapshots
from tests.bench.alternatives import Peer
from tests.bench.bench_throughput import RATE, TIMEOUT_S, Pace, paced
from tests.bench.engine import RINGFENCE, Setup, configured, ringfence
from tests.bench.lab import LONG, Lab, Work
from tests.bench.machine import on_core
from tests.bench.process import ROOT, python
from tests.bench.report import Report, Row, Target, ratio

OBSERVES: dict[str, dict[str, object]] = {
    "policy.default": {"action": "observe", "unconfirmed": "observe"}
}


async def run(lab: Lab) -> list[Report]:
    """The engine and both replays in turn."""
    setup = Setup(snapshots.state_dir(lab))
    engine = Peer(RINGFENCE, lambda work: ringfence(lab, work, setup)[0])
    paces: list[Pace] = []
    same: list[float] = []
    differs: list[float] = []
    back: list[float] = []
    for number in range(lab.scale.rounds):
        paces.append(await paced(lab, engine, emit_all=False))
        made = await lab.calls(LONG)
        alike = _replayed(lab, setup, None)
        assert not alike["changes"]["newly_blocked"]["calls"], "production differs from itself"
        same.append(alike["records_per_s"])
        stricter = _replayed(lab, Setup(setup.state, more=OBSERVES), _blocks(lab))
        assert stricter["changes"]["newly_blocked"]["calls"] == int(made.listed.sum())
        differs.append(stricter["records_per_s"])
        back.append(stricter["records"] / stricter["seconds_calls_back"])
        lab.say(
            f"replay, round {number + 1}: engine {paces[-1][RATE]:,.0f} CDR/s, replay "
            f"{same[-1]:,.0f}, with differences {differs[-1]:,.0f}, calls back {back[-1]:,.0f}"
        )
    rate = [pace[RATE] for pace in paces]
    report = Report("replay")
    report.rows = [
        Row(f"{RINGFENCE}, the engine", {"CDR/s": rate}),
        Row("replay against itself", {"CDR/s": same}),
        Row("replay, 2 % newly blocked", {"CDR/s": differs, "calls back, CDR/s": back}),
    ]
    report.targets = [
        Target("replay against itself / the engine", ratio(same, rate), "x", 1, 2),
        Target("replay, 2 % newly blocked / the engine", ratio(differs, rate), "x", 1, None),
    ]
    return [report]


def _blocks(lab: Lab) -> Path:
    """The settings of the candidate, which blocks."""
    policy = lab.run / "stricter.toml"
    policy.write_text('[policy.default]\naction = "block"\nunconfirmed = "flag"\n')
    return policy


def _replayed(lab: Lab, setup: Setup, policy: Path | None) -> dict[str, Any]:
    """The report of one replay of the whole topic, on the engine's core."""
    config, _ = configured(lab, Work(LONG, lab.new_name("decisions"), emit_all=False), setup)
    words = ["replay", "--from", "3650d", "--json", "-", "--config", str(config)]
    words += ["--policy", str(policy)] if policy is not None else []
    with on_core(lab.cores.engine):
        done = subprocess.run(
            python("stream", *words), cwd=ROOT, check=True, capture_output=True, timeout=TIMEOUT_S
        )
    report: dict[str, Any] = json.loads(done.stdout)
    return report
