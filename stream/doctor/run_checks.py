"""All checks at once, each within its own time; none of them changes anything."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from stream.config.feed_files import feed_context
from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.doctor import (
    expiry_checks,
    feed_checks,
    kafka_checks,
    machine_checks,
    process_checks,
    redis_checks,
)
from stream.doctor.result import CheckLine, Grade, fail
from stream.lists.store.heads import ListHead
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s
from stream.ops.monitor.scrape import ask_all

CHECK_S_MAX = 20.0
"""Of one check: all run side by side, and a person waits for the slowest."""
Check = Callable[[], Awaitable[list[CheckLine]]]


async def examine(settings: Settings) -> list[CheckLine]:
    """Return every line, in the checks' order; a check that takes too long is a line too."""
    state_dir, feeds = Path(settings.lists.state_dir), Path(settings.feeds.dir)
    exchange, circles = settings.exchange, settings.secrets.circle_keys
    checks: dict[str, Check] = {
        "kafka": partial(kafka_checks.check_kafka, settings),
        "redis": partial(redis_checks.check_list_store, settings.list_store()),
        "proxies' redis": partial(_proxies, settings),
        "schema registry": _apart(lambda: kafka_checks.check_registry(settings)),
        "clock": redis_checks.check_clock,
        "state directory": _apart(lambda: machine_checks.check_state(state_dir)),
        "records that stop workers": _apart(
            lambda: process_checks.check_set_aside(state_dir, settings.calls.rejected_topic)
        ),
        "lists here": partial(_snapshots, settings),
        "feeds' reports": partial(feed_checks.check_orphans, feeds, settings.list_store()),
        "feeds": _apart(
            lambda: [
                *feed_checks.check_files(feeds, feed_context(settings)),
                *feed_checks.check_state(state_dir),
            ]
        ),
        "agreements": _apart(lambda: expiry_checks.check_agreements(settings, now_s())),
        "addresses": _apart(lambda: expiry_checks.check_placeholders(settings, os.environ)),
        "keys": _apart(lambda: expiry_checks.check_keys(exchange, circles, os.environ)),
        "what we publish": _apart(lambda: expiry_checks.check_roles(Path(exchange.dir), now_s())),
        "certificates": _apart(lambda: expiry_checks.check_certificates(settings, now_s())),
        "signatures": _apart(lambda: expiry_checks.check_signers(settings, now_s())),
        "tokens": _apart(lambda: expiry_checks.check_tokens(settings.secrets.http_tokens, now_s())),
        "secret files": _apart(lambda: expiry_checks.check_secret_files(os.environ)),
        "versions": _apart(lambda: machine_checks.check_versions(settings.ops, state_dir)),
        "open files": _apart(machine_checks.check_files),
        "ports": partial(_ports, settings),
    }
    found = await asyncio.gather(*(within(name, one, CHECK_S_MAX) for name, one in checks.items()))
    return [line for lines in found for line in lines]


def sound(lines: Iterable[CheckLine]) -> bool:
    """True if no check failed."""
    return all(line.grade is not Grade.FAIL for line in lines)


async def within(name: str, check: Check, limit_s: float) -> list[CheckLine]:
    """Run a check; a timeout or an error becomes a line."""
    try:
        async with asyncio.timeout(limit_s):
            return await check()
    except TimeoutError:
        return [fail(name, f"no answer within {limit_s:.0f} s", "try it by itself; see RUNBOOK")]
    except (Fault, OSError) as error:
        return [fail(name, f"{type(error).__name__}: {error}", "ringfence check-config")]


def _apart(check: Callable[[], Iterable[CheckLine]]) -> Check:
    """Run a blocking check in a daemon thread: a hanging disk does not keep doctor from ending.

    `asyncio.to_thread` would: Python waits for its threads at the exit.
    """

    async def run() -> list[CheckLine]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[CheckLine]] = loop.create_future()

        def told(lines: list[CheckLine] | None, error: Fault | OSError | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(lines or [])

        def work() -> None:
            lines: list[CheckLine] | None = None
            error: Fault | OSError | None = None
            try:
                lines = [*check()]
            except (Fault, OSError) as raised:
                error = raised
            # After the time-out the command may have ended, and its loop is closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(told, lines, error)

        threading.Thread(target=work, daemon=True).start()
        return await answer

    return run


async def _proxies(settings: Settings) -> list[CheckLine]:
    if not settings.sinks.redis.url:
        return []  # the SIP proxies have no Redis of ours
    return await redis_checks.check_proxies(settings.proxies())


async def _snapshots(settings: Settings) -> list[CheckLine]:
    heads: dict[str, ListHead] | None = None
    with suppress(Fault):  # the line of redis says why
        async with await ListStore.connect(settings.list_store()) as list_store:
            heads = dict((await list_store.heads()).lists)
    named = [*machine_checks.name_lines(heads or ())]
    folder, keys = Path(settings.lists.state_dir), settings.circle_keys()
    return [*named, *await _apart(lambda: machine_checks.check_snapshots(folder, keys, heads))()]


async def _ports(settings: Settings) -> list[CheckLine]:
    answers = await ask_all(settings.watched(), float(now_s()))
    found = [*process_checks.trunk_lines(answers), *process_checks.scope_lines(answers)]
    return [*await _apart(lambda: process_checks.port_lines(answers))(), *found]
