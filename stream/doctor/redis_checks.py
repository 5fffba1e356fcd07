"""Redis, ours and the proxies', and the clock: it is asked what time it is."""

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from stream.core.model.errors import Fault
from stream.doctor.result import CheckLine, fail, ok, warn
from stream.lists.store.redis_client import check_safe, client
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_ms

CLOCK_WARN_S, CLOCK_FAIL_S = 1.0, 10.0
"""Ages of lists and expiries are in whole seconds; ten of them are a list that looks stale."""
LIST_STORE = "redis"
MEMORY_FULL = 0.85
"""Of `maxmemory`: a rebuild of the largest list writes a second base beside the first."""
_UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2): the kernel's clock is not synchronised."""


async def check_list_store(list_store: ListStoreSettings) -> list[CheckLine]:
    """Check the list store, and compare its clock with ours."""
    return await _redis(LIST_STORE, list_store, "[redis] url")


async def check_proxies(proxies: ListStoreSettings) -> list[CheckLine]:
    """Check the Redis that SIP proxies ask."""
    return await _redis("proxies' redis", proxies, "[sinks.redis] url")


async def _redis(check: str, settings: ListStoreSettings, setting: str) -> list[CheckLine]:
    redis = client(settings)
    try:
        info: Mapping[str, Any] = await redis.info()
        asked_ms = now_ms()
        seconds, micros = await redis.time()
        ours_ms = (asked_ms + now_ms()) / 2
        lines = [*redis_lines(check, info)]
        try:
            await check_safe(redis, settings)
        except Fault as fault:
            fix = "redis-cli CONFIG SET maxmemory-policy noeviction"
            if settings.require_aof:
                fix += "; CONFIG SET appendonly yes"
            lines.append(fail(check, str(fault), fix))
        return [*lines, clock_line(check, seconds + micros / 1e6 - ours_ms / 1000)]
    except (AuthenticationError, NoPermissionError) as error:
        return [fail(check, f"refuses us: {error}", "RINGFENCE_REDIS_USERNAME, ..._PASSWORD")]
    except (RedisError, OSError) as error:
        return [fail(check, f"does not answer: {error}", f"start it, or {setting}")]
    finally:
        await redis.aclose()


def redis_lines(check: str, info: Mapping[str, Any]) -> Iterator[CheckLine]:
    """Check memory, append-only file and evictions in Redis' INFO."""
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    version = info.get("redis_version", "?")
    yield ok(check, f"version {version}, {used / 1e6:,.0f} MB of {most / 1e6:,.0f} (0: no limit)")
    if most and used > most * MEMORY_FULL:
        fix = "redis-cli CONFIG SET maxmemory <more>"
        yield warn(check, f"memory is {used / most:.0%} full", fix)
    if str(info.get("aof_last_write_status", "ok")) != "ok":
        yield fail(check, "its append-only file cannot be written", "df -h, Redis' own log")
    if int(info.get("evicted_keys", 0)):
        ours = check == LIST_STORE
        refill = "ringfence lists repair LIST, each" if ours else "restart the sink"
        fix = f"redis-cli CONFIG SET maxmemory-policy noeviction; {refill}; CONFIG RESETSTAT"
        yield fail(check, f"it threw away {info['evicted_keys']} keys", fix)


def clock_line(check: str, ahead_s: float) -> CheckLine:
    """Compare another clock with ours."""
    said = f"its clock is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} ours"
    fix = "chronyc makestep, on whichever is wrong"
    if abs(ahead_s) >= CLOCK_FAIL_S:
        return fail(f"clock of {check}", said, fix)
    if abs(ahead_s) >= CLOCK_WARN_S:
        return warn(f"clock of {check}", said, fix)
    return ok(f"clock of {check}", said)


async def check_clock() -> list[CheckLine]:
    """Check whether the kernel's clock is synchronised; Kafka itself tells nobody its time."""
    return [synchronised_line(_kernel_clock())]


def synchronised_line(state: int) -> CheckLine:
    """Interpret the state of adjtimex(2); below 0: it is not available."""
    if state < 0:
        return warn("clock", "this system does not say whether it is synchronised", "timedatectl")
    if state == _UNSYNCHRONISED:
        return warn("clock", "is not synchronised", "systemctl enable --now chrony")
    return ok("clock", "is synchronised")


def _kernel_clock() -> int:
    asked = ctypes.create_string_buffer(512)  # struct timex with modes 0: nothing is set
    try:
        return int(ctypes.CDLL(None).adjtimex(asked))
    except AttributeError:
        return -1
