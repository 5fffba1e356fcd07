"""Redis, ours and the proxies', and the clock: it is asked what time it is."""

import ctypes
import re
from collections.abc import Iterator, Mapping
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.utils import str_if_bytes

from stream.core.model.errors import Fault
from stream.doctor.result import CheckLine, fail, ok, warn
from stream.lists.store.redis_client import check_safe, client, clock_ahead_s, sentinels_of, told
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_ms

CLOCK_WARN_S, CLOCK_FAIL_S = 1.0, 10.0
"""Ages of lists and expiries are in whole seconds; ten of them are a list that looks stale."""
LAG_WARN_S, BEHIND_WARN = 5, 1_000_000
"""Seconds since a replica's last word, of which there is one a second; bytes that it lacks."""
LIST_STORE = "redis"
MEMORY_FULL = 0.85
"""Of `maxmemory`: a rebuild of the largest list writes a second base beside the first."""
_UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2): the kernel's clock is not synchronised."""


async def check_list_store(list_store: ListStoreSettings) -> list[CheckLine]:
    """Check the list store, and compare its clock with ours."""
    return await _redis(LIST_STORE, list_store)


async def check_proxies(proxies: ListStoreSettings) -> list[CheckLine]:
    """Check the Redis that SIP proxies ask."""
    return await _redis("proxies' redis", proxies)


async def _redis(check: str, settings: ListStoreSettings) -> list[CheckLine]:
    redis = client(settings)
    sentinels = await check_sentinels(check, settings)
    try:
        info: Mapping[str, Any] = await redis.info()
        ahead_s = await clock_ahead_s(redis, lambda: now_ms() / 1000)
        lines = [*sentinels, *redis_lines(check, info), *replica_lines(check, info, settings)]
        try:
            await check_safe(redis, settings)
        except Fault as fault:
            fix = "redis-cli CONFIG SET maxmemory-policy noeviction"
            if settings.require_aof:
                fix += "; CONFIG SET appendonly yes"
            if info.get("role") == "slave" or int(info.get("cluster_enabled", 0)):
                fix = settings.setting
            lines.append(fail(check, str(fault), fix))
        return [*lines, clock_line(check, ahead_s)]
    except (AuthenticationError, NoPermissionError) as error:
        fix = "RINGFENCE_REDIS_USERNAME, ..._PASSWORD"
        return [*sentinels, fail(check, f"refuses us: {error}", fix)]
    except (RedisError, OSError) as error:
        return [
            *sentinels,
            fail(check, f"does not answer: {told(error)}", f"start it, or {settings.setting}"),
        ]
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
        yield fail(check, f"it evicted {info['evicted_keys']} keys", fix)


def replica_lines(
    check: str, info: Mapping[str, Any], settings: ListStoreSettings
) -> Iterator[CheckLine]:
    """Check the replicas in Redis' INFO: how many, and how far behind."""
    found = [value for key, value in info.items() if re.fullmatch(r"slave\d+", key)]
    online = [one for one in found if one["state"] == "online"]
    if settings.wait_replicas > len(online):
        text = f"{len(online)} replicas are online, wait_replicas is {settings.wait_replicas}"
        yield fail(check, f"{text}: no change counts as done", "start the replicas")
    elif settings.sentinels and not online:
        yield warn(check, "no replica is online: nothing to fail over to", "start the replicas")
    for one in found:
        place = f"replica {one['ip']}:{one['port']}"
        behind = int(info.get("master_repl_offset", 0)) - int(one["offset"])
        if one["state"] != "online":
            yield warn(check, f"{place} is not in step yet: {one['state']}", "its log")
        elif int(one["lag"]) > LAG_WARN_S or behind > BEHIND_WARN:
            text = f"{place} is {behind:,} bytes and {one['lag']} s behind: a fail-over loses them"
            yield warn(check, text, "its log, its network")


async def check_sentinels(check: str, settings: ListStoreSettings) -> list[CheckLine]:
    """Ask each sentinel for the primary, and whether enough agree to replace it."""
    if not settings.sentinels:
        return []
    name, lines = settings.sentinel_master, list[CheckLine]()
    named = set[str]()
    manager = sentinels_of(settings)
    for address, sentinel in zip(settings.sentinels, list(manager.sentinels), strict=True):
        place = f"sentinel {address}"
        try:
            await sentinel.sentinel_ckquorum(name)
            address_of: Any = await sentinel.sentinel_get_master_addr_by_name(name)
            named.add("{}:{}".format(*map(str_if_bytes, address_of)))
        except (AuthenticationError, NoPermissionError) as error:
            lines.append(fail(check, f"{place} refuses us: {error}", _sentinel_people(settings)))
        except ResponseError as error:
            fix = f"redis-cli -p {address.rpartition(':')[2]} SENTINEL CKQUORUM {name}"
            lines.append(fail(check, f"{place}: {error}", fix))
        except (RedisError, OSError) as error:
            fix = f"start it, or {settings.setting}"
            lines.append(warn(check, f"{place} does not answer: {error}", fix))
        finally:
            await sentinel.aclose()
    if len(named) > 1:
        told = ", ".join(sorted(named))
        lines.append(warn(check, f"the sentinels name different primaries: {told}", "ask again"))
    if not lines:
        count = len(settings.sentinels)
        lines.append(ok(check, f"{count} sentinels agree on the primary, and have a quorum"))
    return lines


def _sentinel_people(settings: ListStoreSettings) -> str:
    first = settings.named[1].partition("_USERNAME")[0]
    return f"{first}_SENTINEL_USERNAME, {first}_SENTINEL_PASSWORD"


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
    """Check whether the kernel's clock is synchronised; Kafka does not answer its own time."""
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
