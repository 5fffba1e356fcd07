"""One shell for all processes: signals, deadline, health, and faults as exit codes."""

import asyncio
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Timer
from uuid import uuid4

import aiohttp
import pytest

from stream.config.settings import Settings, load
from stream.core.model.errors import (
    CLEAN,
    CONFIG_WRONG,
    CRASHED,
    UNUSABLE,
    ConfigInvalid,
    Fault,
    ListStoreDown,
    SourceDown,
)
from stream.ops.health_server import PortTaken, Readiness
from stream.services import service
from stream.services.service import Late, Service, Words, WorkerPlace
from tests.support import waiting

WORDS = Words(stopping="calls wait", stopped="stopped; all is committed", late="calls come again")


def settings_of(shutdown_s: float = 30.0) -> Settings:
    settings = load([], {})
    return replace(settings, ops=replace(settings.ops, shutdown_s=shutdown_s))


class Process(Service):
    """A process whose work each test gives it."""

    def __init__(
        self,
        shutdown_s: float = 30.0,
        missing: Sequence[str] = (),
        place: WorkerPlace | None = None,
    ) -> None:
        super().__init__(settings_of(shutdown_s), 0, words=WORDS, place=place)
        self._lacks = missing
        self.hangs = False

    def _missing(self) -> tuple[str, ...]:
        return tuple(self._lacks)

    def _stalled(self) -> bool:
        return self.hangs

    async def does(self, job: Callable[[], Awaitable[None]]) -> int:
        self._job = job
        return await self.run()

    async def _work(self) -> None:
        await self._job()


def signalled(number: int = signal.SIGTERM) -> None:
    """The actions of systemd, Kubernetes or a person."""
    os.kill(os.getpid(), number)


async def page(port: int, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_a_signal_asks_the_work_to_end_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """The work ends what it began, in its own order, and the exit code is 0."""
    caplog.set_level(logging.INFO, "stream")
    one, ended = Process(), []

    async def work() -> None:
        signalled(signal.SIGINT)
        await one.until_stopping()
        ended.append(one.readiness.missing)

    assert await one.does(work) == CLEAN
    assert ended == [("it is being stopped",)]
    assert [line for line in caplog.messages if "http://" not in line] == [
        "SIGINT: stopping within 30.0 s; calls wait",
        "stopped; all is committed",
    ]


async def test_a_work_that_began_nothing_is_cancelled() -> None:
    """A process that still waits for lists or Kafka ends at once, and in order."""
    closed = []

    async def work() -> None:
        try:
            signalled()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    assert await Process().does(work) == CLEAN
    assert closed


async def test_a_work_that_begins_after_the_signal_is_asked_at_once() -> None:
    """A cancellation that a library swallowed keeps no process running."""
    one = Process()

    async def work() -> None:
        end = asyncio.Event()
        signalled()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            one.ends_by(end.set)
        await end.wait()

    assert await one.does(work) == CLEAN


@pytest.mark.parametrize("terminal", [True, False])
async def test_a_hangup_ends_only_what_a_terminal_began(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """`pkill -HUP ringfence` on a server ends nothing: systemd would start no other process."""
    caplog.set_level(logging.INFO, "stream")
    monkeypatch.setattr("os.isatty", lambda _: terminal)
    one = Process()

    async def work() -> None:
        signalled(signal.SIGHUP)
        await waiting.until(lambda: "SIGHUP: going on" in caplog.text, "the signal")
        signalled()
        await asyncio.Event().wait()

    assert await one.does(work) == CLEAN
    assert ("SIGHUP: stopping" in caplog.text) is terminal


@pytest.mark.expects_errors("deadline came first|not committed")
async def test_the_second_signal_ends_the_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    """A person who does not want to wait for the deadline signals again."""
    one, cancelled = Process(shutdown_s=3600.0), []

    async def work() -> None:
        one.ends_by(signalled)  # the second one, as soon as the first has begun the shutdown
        signalled()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    with pytest.raises(Late, match="calls come again"):
        await one.does(work)
    assert cancelled
    assert one.deadline.left_s == 0.0
    assert "SIGTERM again: stopping at once" in caplog.messages
    assert "the deadline came first: calls come again" in caplog.messages


@pytest.mark.expects_errors("deadline came first|not committed")
async def test_the_deadline_ends_the_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    """A work that ends not within [ops] shutdown_s is cancelled; what it raises then is logged."""
    one = Process(shutdown_s=0.01)

    async def work() -> None:
        signalled()
        try:
            await one.until_stopping()
            await asyncio.Event().wait()
        finally:
            raise SourceDown("positions are not committed")

    with pytest.raises(Late):
        await one.does(work)
    assert "SourceDown: positions are not committed" in caplog.messages


@pytest.mark.expects_errors("deadline came first|not committed")
async def test_a_work_that_cannot_be_cancelled_keeps_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the deadline and a while to close, the process gives up on it."""
    monkeypatch.setattr(service, "STOP_S_MAX", 0.01)
    one, done = Process(shutdown_s=0.01), asyncio.Event()

    async def work() -> None:
        signalled()
        await one.until_stopping()
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                continue

    with pytest.raises(Late):
        await one.does(work)
    done.set()


async def test_what_the_work_raises_is_raised() -> None:
    """A fault of the work ends the process without a signal."""

    async def work() -> None:
        raise ListStoreDown("away")

    with pytest.raises(ListStoreDown, match="away"):
        await Process().does(work)


async def test_health_before_ready_and_while_stopping(caplog: pytest.LogCaptureFixture) -> None:
    """/ready says what is missing before the work is ready, and that it stops; /live stays."""
    caplog.set_level(logging.INFO, "stream")
    missing = ["the lists are not loaded"]
    one = Process(missing=missing)
    seen = []

    async def work() -> None:
        port = int(caplog.messages[0].partition("127.0.0.1:")[2].partition("/")[0])
        seen.append(await page(port, "/ready"))
        missing.clear()
        seen.append(await page(port, "/ready"))
        one.ends_by(lambda: None)
        one.stop("a test")
        seen.append(await page(port, "/ready"))
        seen.append(await page(port, "/live"))

    assert await one.does(work) == CLEAN
    assert [(status, json.loads(text)) for status, text in seen] == [
        (503, {"ready": False, "missing": ["the lists are not loaded"]}),
        (200, {"ready": True, "missing": []}),
        (503, {"ready": False, "missing": ["it is being stopped"]}),
        (200, {"live": True}),
    ]


async def test_under_a_supervisor_reports_take_the_place_of_pages() -> None:
    """It reports from the start; the supervisor's end begins the shutdown."""
    reports: list[Readiness] = []
    reported = asyncio.Event()

    def report(readiness: Readiness) -> None:
        reports.append(readiness)
        reported.set()

    async def gone() -> None:
        await reported.wait()

    one = Process(missing=("a list",), place=WorkerPlace(1, 2, report, gone))

    async def work() -> None:
        await one.until_stopping()

    assert await one.does(work) == CLEAN
    assert reports[0].missing == ("a list",)


async def test_under_a_supervisor_a_second_signal_changes_nothing() -> None:
    """A unit's stop signals all its processes, and the supervisor its workers."""

    async def gone() -> None:
        await asyncio.Event().wait()

    one = Process(place=WorkerPlace(0, 1, lambda _: None, gone))

    async def work() -> None:
        asked = asyncio.Event()
        one.ends_by(asked.set)
        signalled()
        await asked.wait()
        signalled(signal.SIGINT)
        await asyncio.sleep(0.01)

    assert await one.does(work) == CLEAN


@pytest.mark.parametrize("abstract", [False, True])
async def test_systemd_hears_of_a_process_that_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, abstract: bool
) -> None:
    """WatchdogSec= of a unit restarts a process that stopped reporting, or has a hung worker."""
    monkeypatch.setattr(service, "LOOK_S", 0.001)
    address = f"@ringfence-{uuid4()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(address.replace("@", "\0"))
        notify.setblocking(False)
        one = Process()
        one.hangs = True

        async def work() -> None:
            await asyncio.sleep(0.02)
            with pytest.raises(BlockingIOError):
                notify.recv(64)
            one.hangs = False
            assert await asyncio.get_running_loop().sock_recv(notify, 64) == b"WATCHDOG=1"

        assert await one.does(work) == CLEAN


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ConfigInvalid(("no port",)), CONFIG_WRONG),
        (ListStoreDown("away"), UNUSABLE),
        (PortTaken("taken"), UNUSABLE),
        (SourceDown("away"), CRASHED),
    ],
)
def test_a_fault_is_the_last_log_line_and_an_exit_code(
    fault: Fault, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """2: the configuration; 3: what a person has to set up first; 1: anything else."""

    async def main() -> int:
        raise fault

    assert service.run(settings_of(), main, process="a-test") == code
    last = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert last["level"] == "critical"
    assert last["event"] == f"{type(fault).__name__}: {fault}"
    assert last["process"] == "a-test"


def test_a_bug_is_logged_and_raised(capfd: pytest.CaptureFixture[str]) -> None:
    """Its traceback is in the log, and the process fails."""

    async def main() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        service.run(settings_of(), main)
    last = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert last["event"] == "crashed: unhandled exception"
    assert "ZeroDivisionError" in last["error"]


def test_a_late_process_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for threads and tasks that did not end: the exit code is 1."""

    class Ended(BaseException):
        pass

    def leave(code: int) -> None:
        assert code == CRASHED
        raise Ended

    async def main() -> int:
        raise Late("calls come again")

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    with pytest.raises(Ended):
        service.run(settings_of(), main)


def test_a_thread_that_goes_on_does_not_hold_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are compiled in a thread that nothing ends: a stopped process leaves without it."""
    left: list[int] = []
    compiled = threading.Event()

    def leave(code: int) -> None:
        left.append(code)
        compiled.set()

    async def main() -> int:
        asyncio.get_running_loop().run_in_executor(None, compiled.wait)
        return CLEAN

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.setattr(service, "STOP_S_MAX", 0.01)
    assert service.run(settings_of(), main) == CLEAN
    assert left == [CLEAN]


def test_an_orderly_end_takes_the_time_limit_back() -> None:
    """What would end the process by force does not outlive the process' work."""

    async def main() -> int:
        return CLEAN

    assert service.run(settings_of(), main) == CLEAN
    assert all(one.finished.is_set() for one in threading.enumerate() if isinstance(one, Timer))
