"""`GET /v1/decision`: how fast a proxy gets its answer, and whether it is the stream's answer.

Compared: `ringfence serve` with 64 lists of 1M numbers, a decision with its reasons and SIP answer
for every call, against a plain FastAPI route with pybloom-live on ONE list and a Redis GET where
it hits (peers/plain_lookup.py), and an answer of uvicorn by hand that decides nothing
(peers/bare_lookup.py), in the same run, rounds interleaved. 2 % of the callers are listed. 64 kept
connections, in turn: a server closes one that is idle for long, and a bench whose question gets no
answer ends and says so. At a given rate questions are due at fixed times, and a latency counts from
when its question was due, so that a stall delays all that are due meanwhile. The server has the
engine's core; the load, in this process, shares the broker's with Redis.

Then a million calls are asked in batches, in this process, and decided by the stream's own decoding
and deciding: no verdict, rule, number or reason may differ.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
from redis import Redis

from stream.calls.lookup import Lookup, LookupStatus, Question
from stream.config.settings import Settings, load
from stream.core.model.agreement import Agreements
from stream.edge.http.tokens import Client, ClientRole, line_of
from stream.engine.decider import Decider, decoder_for, fields_reader_for
from stream.engine.live_lists import refresher_for
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.lab.embedded.guarded_server import free_ports
from stream.ops.clock import now_ms
from tests.bench import snapshots
from tests.bench.engine import NO_REDIS, READY_S, warm
from tests.bench.engine import RINGFENCE as OURS
from tests.bench.lab import Lab
from tests.bench.machine import cpu_s, on_core
from tests.bench.process import Process, python
from tests.bench.report import Report, Row, Target, ratio
from tests.bench.traffic import list_numbers, traffic
from tests.support.builders import record_of

BARE = "uvicorn, an answer by hand without a decision"
PLAIN = "FastAPI + pybloom-live + Redis GET, 1 list"
RATES = {2_000: 6.0, 5_000: 6.0}
"""Questions a second, and for how many seconds."""
MOST_MS = {2_000: (5, 2), 5_000: (3, 2)}
"""99th percentile at a rate: floor and aim."""
ROUNDS_MAX = 2
MOST_S = 3.0
"""Seconds of a round: as fast as may be, and at each rate. All is over in about three minutes."""
CONNECTIONS = 64
PATIENCE_S = 30.0
"""Longest wait for answers."""
TOKEN = "rf_bench"
WARM_S = 1.0
COMPARED = {"full": 1_000_000, "quick": 20_000}
CHUNK = 5_000


async def run(lab: Lab) -> list[Report]:
    """Both reports."""
    return [await speed(lab), await sameness(lab)]


class NoAnswerError(RuntimeError):
    """A server does not answer a question."""


class Asker(asyncio.Protocol):
    """One kept connection, which asks one question after the other."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._held = b""
        self._told: Callable[[], None] = lambda: None
        self.free = True
        self.lost = False
        self.wrong = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = transport

    def ask(self, question: bytes, told: Callable[[], None]) -> None:
        """Send it; `told` is called when the answer is whole."""
        self.free, self._told = False, told
        self._transport.write(question)

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) >= length:
            self.wrong += not head.startswith(b"HTTP/1.1 200")
            self._held, self.free = b"", True
            self._told()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server hung up, or `close` did."""
        del exc
        self.lost = True

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


async def _until(done: Callable[[], bool], askers: Sequence[Any], pause_s: float) -> None:
    """Wait for answers. Raises `NoAnswerError` if a connection is gone or some are missing."""
    end = time.perf_counter() + PATIENCE_S
    while not done():
        if gone := sum(asker.lost and not asker.free for asker in askers):
            raise NoAnswerError(f"{gone} of {len(askers)} connections were closed before an answer")
        if time.perf_counter() > end:
            raise NoAnswerError(f"answers are missing after {PATIENCE_S:.0f} s")
        # Looked at, and no event: one for each answer would cost what is measured.
        await asyncio.sleep(pause_s)


async def opened(port: int) -> list[Asker]:
    """Connections to a server of this machine."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Asker, "127.0.0.1", port) for _ in range(CONNECTIONS)]
    return [asker for _, asker in made]


async def at_rate(askers: Sequence[Asker], questions: Iterator[bytes], rate: int, s: float) -> Any:
    """Latencies in ms of questions that are due at `rate`, from when each was due."""
    count, start = int(rate * s), time.perf_counter() + 0.05
    took: list[float] = []
    idle = deque(askers)
    for index in range(count):
        due = start + index / rate
        while (left := due - time.perf_counter()) > 0:  # noqa: ASYNC110 - a time, no event
            await asyncio.sleep(left if left > 0.001 else 0)
        if not idle:  # the server is behind: the wait counts
            await _until(lambda: bool(idle), askers, 0)
        asker = idle.popleft()

        def told(due: float = due, asker: Asker = asker) -> None:
            took.append((time.perf_counter() - due) * 1000)
            idle.append(asker)

        asker.ask(next(questions), told)
    await _until(lambda: len(took) == count, askers, 0.001)
    assert not any(asker.wrong for asker in askers), "an answer was none"
    return np.array(took)


async def at_most(askers: Sequence[Asker], questions: Iterator[bytes], s: float) -> float:
    """Answers a second where each connection asks as soon as it is answered."""
    end = time.perf_counter() + s
    answered = 0

    def again(asker: Asker) -> None:
        nonlocal answered
        answered += 1
        if time.perf_counter() < end:
            asker.ask(next(questions), lambda: again(asker))

    began = time.perf_counter()
    for asker in askers:
        asker.ask(next(questions), lambda asker=asker: again(asker))  # type: ignore[misc]
    await _until(lambda: all(asker.free for asker in askers), askers, 0.01)
    return answered / (time.perf_counter() - began)


def questions_of(lab: Lab) -> Iterator[bytes]:
    """Requests, for ever."""
    calls = traffic(20_000, lab.scale.numbers, seed=5)
    asked = [
        b"GET /v1/decision?caller=%%2B%d&callee=%%2B%d HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: Bearer %b\r\n\r\n" % (caller, callee, TOKEN.encode())
        for caller, callee in zip(calls.callers.tolist(), calls.callees.tolist(), strict=True)
    ]
    return cycle(asked)


def ours(lab: Lab, state: Path) -> tuple[Process, int]:
    """`ringfence serve` on the engine's core."""
    port, health = free_ports(2)
    tokens = lab.run / "tokens"
    tokens.write_text(line_of(Client("bench", ClientRole.SWITCH), TOKEN))
    config = lab.run / f"{lab.new_name('serve')}.toml"
    config.write_text(
        f'[kafka]\nbootstrap_servers = "{lab.broker.bootstrap}"\n[redis]\nurl = "{NO_REDIS}"\n'
        f'[lists]\nstate_dir = "{state}"\n[serve]\nport = {port}\nhealth_port = {health}\n'
        '[calls]\ncheck_callee = true\n[ops]\nlog_level = "WARNING"\n'
    )
    if state not in lab.warm:
        warm(lab, state, config)
    command = ["env", f"RINGFENCE_HTTP_TOKENS_FILE={tokens}"]
    command += python("stream", "serve", "--config", str(config))
    process = Process(OURS, command, [lab.cores.engine], config.with_suffix(".log"))
    process.wait_until_ready(health, READY_S)
    return process, port


def plain(lab: Lab) -> tuple[Process, int]:
    """The peer on the engine's core."""
    (port,) = free_ports(1)
    command = python("tests.bench.peers.plain_lookup", "--port", str(port))
    command += ["--redis", lab.redis.url(), "--list", str(snapshots.bloom_file(lab))]
    process = Process(PLAIN, command, [lab.cores.engine], lab.run / f"{lab.new_name('plain')}.log")
    process.wait_until_ready(port, READY_S)
    return process, port


def bare(lab: Lab) -> tuple[Process, int]:
    """The peer that decides nothing, on the engine's core."""
    (port,) = free_ports(1)
    command = python("tests.bench.peers.bare_lookup", "--port", str(port))
    process = Process(BARE, command, [lab.cores.engine], lab.run / f"{lab.new_name('bare')}.log")
    process.wait_until_ready(port, READY_S)
    return process, port


async def speed(lab: Lab) -> Report:
    """Rates and latencies."""
    state = snapshots.state_dir(lab)
    with Redis.from_url(lab.redis.url()) as redis:
        numbers = list_numbers(0, lab.scale.numbers).tolist()
        for start in range(0, len(numbers), 50_000):
            redis.mset({f"bl:+{number}": "block" for number in numbers[start : start + 50_000]})
    title = f"{OURS}, {lab.scale.lists} lists"
    starts = {title: lambda: ours(lab, state), PLAIN: lambda: plain(lab), BARE: lambda: bare(lab)}

    async def answered(process: Process, port: int) -> dict[str, float]:
        return await measured(process, await opened(port), questions_of(lab), MOST_S, RATES)

    rounds = min(lab.scale.latency_rounds, ROUNDS_MAX)
    figures = await in_turn(lab, rounds, starts, dict.fromkeys(starts, answered))
    report = Report("lookup", [Row(peer, values) for peer, values in figures.items()])
    mine, theirs, most = figures[title], figures[PLAIN], figures[BARE]["answers/s"]
    p99 = "p99 at 2,000/s, ms"
    report.targets = [
        Target("answers/s / plain", ratio(mine["answers/s"], theirs["answers/s"]), "x", 1, 2),
        Target("answers/s / bare", ratio(mine["answers/s"], most), "x", 0.6, 0.8),
    ]
    report.targets.append(Target("answers/s", median(mine["answers/s"]), "/s", 25_000, 40_000))
    for rate, limits in MOST_MS.items():
        if (name := f"p99 at {rate:,}/s, ms") in mine:
            target = Target(name.removesuffix(", ms"), median(mine[name]), "ms", *limits, less=True)
            report.targets.append(target)
    if len(mine.get(p99, ())) == len(theirs.get(p99, ())) == rounds:
        report.targets.append(
            Target("p99 at 2,000/s / plain", ratio(mine[p99], theirs[p99]), "x", 1, 0.5, less=True)
        )
    else:
        report.notes.append("NOT JUDGED: a server did not reach 2,000/s in a round; is it busy?")
    return report


async def in_turn(
    lab: Lab,
    rounds: int,
    starts: Mapping[str, Callable[[], tuple[Process, int]]],
    asked: Mapping[str, Callable[[Process, int], Awaitable[dict[str, float]]]],
) -> dict[str, dict[str, list[float]]]:
    """The figures of each peer, a value a round; the peers run one after the other."""
    figures: dict[str, dict[str, list[float]]] = {peer: {} for peer in starts}
    for number in range(rounds):
        for peer, begin in starts.items():
            with ExitStack() as stack, on_core(lab.cores.broker):
                process, port = begin()
                stack.enter_context(process)
                found = await asked[peer](process, port)
            for name, value in found.items():
                figures[peer].setdefault(name, []).append(value)
            lab.say(f"round {number + 1}, {peer}: {found}")
    return figures


async def measured(
    process: Process,
    askers: Sequence[Any],
    questions: Iterator[bytes],
    most_s: float,
    rates: Mapping[int, float],
    *,
    with_cpu: bool = True,
) -> dict[str, float]:
    """One round of one server: as fast as it can for `most_s`, then each rate for its seconds."""
    await at_most(askers, questions, WARM_S)
    before_s = cpu_s(process.pid)
    most = await at_most(askers, questions, most_s)
    used_s = cpu_s(process.pid) - before_s
    found: dict[str, float] = {"answers/s": round(most)}
    if with_cpu:
        found["CPU us/answer"] = round(used_s / (most * most_s) * 1e6)
    for rate, rate_s in rates.items():
        if found["answers/s"] < rate * 1.1:
            continue
        took = await at_rate(askers, questions, rate, rate_s)
        for percent in (50, 99):
            name = f"p{percent} at {rate:,}/s, ms"
            found[name] = round(float(np.percentile(took[len(took) // 4 :], percent)), 2)
    for asker in askers:
        asker.close()
    return found


async def sameness(lab: Lab) -> Report:
    """Report whether a lookup gives the answer of the stream."""
    kernels = lab.kernels
    settings = load([], {})
    folder = str(snapshots.state_dir(lab))
    settings = replace(settings, lists=replace(settings.lists, state_dir=folder))
    refresher = refresher_for(settings, lambda _: None)
    refresher.load_last_good()
    count = COMPARED[lab.scale.name]
    calls = traffic(count, lab.scale.numbers, seed=11)
    differing = 0
    for start in range(0, count, CHUNK):
        asked = [
            Question(caller=f"+{caller}", callee=f"+{callee}", call_id=f"c-{start + index}")
            for index, (caller, callee) in enumerate(
                zip(
                    calls.callers[start : start + CHUNK].tolist(),
                    calls.callees[start : start + CHUNK].tolist(),
                    strict=True,
                )
            )
        ]
        differing += await _differing(settings, refresher.current, asked)
    return Report(
        "lookup against the stream",
        [Row("calls", {"asked": [count], "differing": [differing]})],
        [Target("verdicts that differ", differing, "", 0, 0, less=True)],
        [f"{kernels}; {int(calls.listed.sum())} of the callers are listed"],
    )


class _Said(msgspec.Struct):
    call_id: str
    verdict: str
    simulated: bool
    rule: str
    number: str | None
    reasons: list[dict[str, Any]]


_said = msgspec.json.Decoder(_Said).decode


async def _differing(settings: Settings, lists: Any, asked: Sequence[Question]) -> int:
    none = Agreements(())
    decider = Decider(
        replace(settings, calls=replace(settings.calls, emit="all")), lambda: lists, lambda: none
    )
    decode = decoder_for(settings)
    lookup = Lookup(
        fields_reader_for(settings),
        decider.columns,
        lambda: LookupStatus(loaded=True, followed=True),
        now_ms,
        settings.trunks_by_name(),
    )
    answers = await lookup.many(asked, "")
    records = [record_of(question) for question in asked]
    raw = RawBatch(
        records,
        np.arange(len(asked)),
        np.full(len(asked), now_ms()),
        (Segment(Partition("calls", 0), 0, len(asked)),),
        0,
    )
    stream = map(_said, filter(None, decider(decode(raw)).values))
    decided = {said.call_id: said for said in stream}
    return sum(decided[said.call_id] != said for said in map(_said, answers))
