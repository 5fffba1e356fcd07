"""Figures for the pages without processes: a busy hour, told second by second."""

from math import sin

from stream.ops.clock import now_ms
from stream.ops.monitor.collect import Monitor, TrailPoint
from stream.ops.monitor.dashboard import (
    FeedOverview,
    ListOverview,
    Overview,
    ProcessState,
    ProcessStatus,
    SinkOverview,
)
from stream.ops.monitor.targets import MonitorTarget, ProcessKind

HOSTILE = '"><img src=x onerror=alert(3)><script>alert(4)</script>'
"""Possible answers of a process that is not ours."""


def place(kind: ProcessKind, port: int) -> MonitorTarget:
    return MonitorTarget(kind.value, kind, f"http://127.0.0.1:{port}")


def busy(at_s: float, step: int) -> Overview:
    """A moment in which most is well: a sink is away, a feed waits, one never was there."""
    wave = sin(step / 9)
    blocks = 41 + 12 * wave
    return Overview(
        at_s=at_s,
        span_s=1.0,
        processes=(
            ProcessStatus(
                place(ProcessKind.ENGINE, 9464),
                ProcessKind.ENGINE,
                ProcessState.READY,
                at_s - 7200,
                at_s - 7200,
            ),
            ProcessStatus(
                place(ProcessKind.FEEDS, 9465),
                ProcessKind.FEEDS,
                ProcessState.READY,
                at_s - 7100,
                at_s - 7100,
            ),
            ProcessStatus(
                place(ProcessKind.REDIS_SINK, 9470),
                *(ProcessKind.REDIS_SINK, ProcessState.AWAY, at_s - 300),
                why="connection refused",
            ),
            ProcessStatus(
                place(ProcessKind.SERVE, 9471),
                *(ProcessKind.SERVE, ProcessState.NOT_READY, at_s - 5, at_s - 5),
                restarts=2,
                missing=("the lists are not loaded yet",),
            ),
            ProcessStatus(
                place(ProcessKind.EXCHANGE, 9466),
                *(ProcessKind.EXCHANGE, ProcessState.UNHEARD, None),
                why=HOSTILE,
            ),
        ),
        calls_per_s=4210 + 800 * wave,
        decisions_per_s={"allow": 4160 + 800 * wave, "block": blocks, "flag": 9.5},
        simulated_per_s={"KH/trial": 1.5},
        rejected_per_s={"bad_json": 0.4},
        latency_p50_s=0.0041,
        latency_p99_s=0.0182 + 0.004 * wave,
        lag={"calls": 120 + int(60 * wave)},
        kafka_up=True,
        register_up=True,
        lists=(
            ListOverview("TH/national", 41, 3.0, 40, 40, blocks - 8, 0.0),
            ListOverview("KH/scam", 13, 4.2, 12, 12, 8.0, 9.5),
            ListOverview("LA/centres", 1, 310.0, 0, 0, 0.0, 0.0),
        ),
        feeds=(FeedOverview("kh-scam", True, False, 12, 4000.0, 40.0, 0),),
        sinks=SinkOverview(lag={"redis": 0}, redis_up=False),
        appeals={"received": 3, "pending_owner": 1, "redressed": 12},
        appeals_overdue=1,
        versions=("0.8.0",),
    )


class Told(Monitor):
    """A watch that asks nobody; `step` moves with each look."""

    def __init__(self) -> None:
        super().__init__(())
        self.step = 0
        for step in range(-120, 0):
            self.trail.append(TrailPoint.of(busy(now_ms() / 1000 + 2 * step, step)))

    async def look(self) -> Overview:
        self.step += 1
        seen = busy(now_ms() / 1000, self.step)
        self.trail.append(TrailPoint.of(seen))
        return seen
