"""The data of one Redis: keys, and the commands that our code and its scripts use on them.

As much of each command as we use, with Redis' answers. A command that is not here is refused, as an
unknown one is: a history ends there, and does not go on with a guess. The contract tests in
test_store.py run on this and on a real server.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

Reply = Any
"""None, int, bytes, Status, a list, Members (a set), or a dict of bytes (a map)."""
Args = Sequence[bytes]
_TRIM_SLACK = 100
"""`MAXLEN ~` removes whole nodes of a stream alone; they have 100 entries."""


class Status(bytes):
    """A simple string, as OK."""


class Members(list[bytes]):
    """The members of a set."""


class Refused(Exception):
    """An error that Redis answers; its text begins with the code."""


WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
OK, QUEUED, PONG = Status(b"OK"), Status(b"QUEUED"), Status(b"PONG")


@dataclass
class Stream:
    """Entries of a stream by id, in their order."""

    entries: list[tuple[tuple[int, int], tuple[bytes, ...]]] = field(default_factory=list)
    last: tuple[int, int] = (0, 0)


class _MemberSet(dict[bytes, None]):
    """A set that keeps the order of its making: the same in every process."""


class _Scores(dict[bytes, float]):
    """The members of a sorted set, each with its score."""

    def ordered(self) -> list[bytes]:
        """Return them by score, and of one score by their bytes."""
        return sorted(self, key=lambda member: (self[member], member))


_KINDS: Mapping[type, bytes] = {
    bytes: b"string",
    dict: b"hash",
    _MemberSet: b"set",
    _Scores: b"zset",
    list: b"list",
    Stream: b"stream",
}


class Database:
    """The keys of one server. `run` is one command at one moment, `now_ms` of the server's clock.

    `effects` are commands that make a replica the same. They name what was decided here: the id of
    an entry, the moment at which a key expires.
    """

    def __init__(self) -> None:
        self.keys: dict[bytes, Any] = {}
        self.expires: dict[bytes, int] = {}
        self.effects: list[Args] = []
        self.unknown: list[str] = []
        """Commands that it was asked for and does not have."""
        self._now_ms = 0

    def run(self, args: Args, now_ms: int) -> Reply:
        """Run one command. Raises Refused."""
        self._now_ms = now_ms
        name = args[0].upper()
        command = COMMANDS.get(name)
        if command is None:
            self.unknown.append(name.decode())
            raise Refused(f"ERR unknown command '{args[0].decode()}'")
        for key in [key for key, at_ms in self.expires.items() if at_ms <= now_ms]:
            self._drop(key)
        return command(self, *args[1:])

    def _drop(self, key: bytes) -> bool:
        self.expires.pop(key, None)
        if self.keys.pop(key, None) is None:
            return False
        self._told(b"DEL", key)
        return True

    def _told(self, *args: bytes) -> None:
        self.effects.append(args)

    def _at(self, key: bytes, kind: type, made: Callable[[], Any] | None = None) -> Any:
        """Return the value of a key; without one an empty value that is kept if it is `made`."""
        value = self.keys.get(key)
        if value is None:
            value = kind()
            if made is not None:
                self.keys[key] = value
        elif type(value) is not kind:
            raise Refused(WRONG_TYPE)
        return value

    def _swept(self, key: bytes) -> None:
        """Remove a key whose last item went."""
        if not self.keys.get(key, True):
            del self.keys[key]
            self.expires.pop(key, None)

    # Keys.

    def exists(self, *keys: bytes) -> int:
        return sum(key in self.keys for key in keys)

    def delete(self, *keys: bytes) -> int:
        return sum(self._drop(key) for key in keys)

    def type(self, key: bytes) -> Status:
        value = self.keys.get(key)
        return Status(b"none" if value is None else _KINDS[type(value)])

    def rename(self, key: bytes, to: bytes) -> Status:
        if key not in self.keys:
            raise Refused("ERR no such key")
        self.keys[to] = self.keys.pop(key)
        self.expires.pop(to, None)
        if key in self.expires:
            self.expires[to] = self.expires.pop(key)
        self._told(b"RENAME", key, to)
        return OK

    def pexpireat(self, key: bytes, at_ms: bytes) -> int:
        if key not in self.keys:
            return 0
        self.expires[key] = int(at_ms)
        self._told(b"PEXPIREAT", key, at_ms)
        return 1

    def pexpire(self, key: bytes, ms: bytes) -> int:
        return self.pexpireat(key, b"%d" % (self._now_ms + int(ms)))

    def expire(self, key: bytes, seconds: bytes) -> int:
        return self.pexpire(key, b"%d" % (int(seconds) * 1000))

    def expireat(self, key: bytes, at_s: bytes) -> int:
        return self.pexpireat(key, b"%d" % (int(at_s) * 1000))

    def persist(self, key: bytes) -> int:
        if self.expires.pop(key, None) is None:
            return 0
        self._told(b"PERSIST", key)
        return 1

    def pttl(self, key: bytes) -> int:
        if key not in self.keys:
            return -2
        return self.expires[key] - self._now_ms if key in self.expires else -1

    def scan(self, cursor: bytes, *more: bytes) -> list[Reply]:
        """All at once: a count is a hint."""
        pattern = _option(more, b"MATCH", b"*")
        found = [k for k in self.keys if fnmatchcase(k.decode(), pattern.decode())]
        return [b"0", found]

    def flushall(self, *_: bytes) -> Status:
        for key in list(self.keys):
            self._drop(key)
        return OK

    def time(self) -> list[bytes]:
        return [b"%d" % (self._now_ms // 1000), b"%d" % (self._now_ms % 1000 * 1000)]

    # Strings.

    def get(self, key: bytes) -> bytes | None:
        value: bytes = self._at(key, bytes)
        return value if key in self.keys else None

    def getrange(self, key: bytes, first: bytes, last: bytes) -> bytes:
        value: bytes = self._at(key, bytes)
        return b"".join(_ranged([value[i : i + 1] for i in range(len(value))], first, last))

    def set(self, key: bytes, value: bytes, *more: bytes) -> Status | None:
        options = [one.upper() for one in more]
        if b"NX" in options and key in self.keys:
            return None
        self.keys[key] = value
        self.expires.pop(key, None)
        self._told(b"SET", key, value)
        if (seconds := _option(options, b"EX")) is not None:
            self.expire(key, seconds)
        if (ms := _option(options, b"PX")) is not None:
            self.pexpire(key, ms)
        return OK

    # Hashes.

    def hget(self, key: bytes, name: bytes) -> bytes | None:
        value: dict[bytes, bytes] = self._at(key, dict)
        return value.get(name)

    def hmget(self, key: bytes, *names: bytes) -> list[bytes | None]:
        value = self._at(key, dict)
        return [value.get(name) for name in names]

    def hgetall(self, key: bytes) -> dict[bytes, bytes]:
        return dict(self._at(key, dict))

    def hset(self, key: bytes, *pairs: bytes) -> int:
        if not pairs or len(pairs) % 2:
            raise Refused("ERR wrong number of arguments for 'hset' command")
        value = self._at(key, dict, dict)
        given = dict(zip(pairs[::2], pairs[1::2], strict=True))
        new = len(given.keys() - value.keys())
        value.update(given)
        self._told(b"HSET", key, *pairs)
        return new

    def hsetnx(self, key: bytes, name: bytes, value: bytes) -> int:
        return 0 if name in self._at(key, dict) else self.hset(key, name, value)

    def hdel(self, key: bytes, *names: bytes) -> int:
        value = self._at(key, dict)
        gone = [name for name in names if value.pop(name, None) is not None]
        if gone:
            self._told(b"HDEL", key, *gone)
            self._swept(key)
        return len(gone)

    def hexists(self, key: bytes, name: bytes) -> int:
        return int(name in self._at(key, dict))

    def hlen(self, key: bytes) -> int:
        return len(self._at(key, dict))

    def hkeys(self, key: bytes) -> list[bytes]:
        return list(self._at(key, dict))

    def hincrby(self, key: bytes, name: bytes, by: bytes) -> int:
        value = self._at(key, dict, dict)
        try:
            after = int(value.get(name, b"0")) + int(by)
        except ValueError:
            raise Refused("ERR hash value is not an integer") from None
        self.hset(key, name, b"%d" % after)
        return after

    def hscan(self, key: bytes, cursor: bytes, *_: bytes) -> list[Reply]:
        flat = [part for pair in self._at(key, dict).items() for part in pair]
        return [b"0", flat]

    # Sets.

    def sadd(self, key: bytes, *members: bytes) -> int:
        value = self._at(key, _MemberSet, _MemberSet)
        new = [member for member in dict.fromkeys(members) if member not in value]
        value.update(dict.fromkeys(new))
        if new:
            self._told(b"SADD", key, *new)
        return len(new)

    def srem(self, key: bytes, *members: bytes) -> int:
        value = self._at(key, _MemberSet)
        gone = [member for member in members if member in value]
        for member in gone:
            del value[member]
        if gone:
            self._told(b"SREM", key, *gone)
            self._swept(key)
        return len(gone)

    def smembers(self, key: bytes) -> Members:
        return Members(self._at(key, _MemberSet))

    def sismember(self, key: bytes, member: bytes) -> int:
        return int(member in self._at(key, _MemberSet))

    # Sorted sets.

    def zadd(self, key: bytes, *more: bytes) -> int:
        how = [one.upper() for one in more if one.upper() in {b"NX", b"GT"}]
        value, pairs = self._at(key, _Scores, _Scores), more[len(how) :]
        new = 0
        for score, member in zip(map(float, pairs[::2]), pairs[1::2], strict=True):
            held = value.get(member)
            if held is not None and (b"NX" in how or (b"GT" in how and score <= held)):
                continue
            new += held is None
            value[member] = score
            self._told(b"ZADD", key, repr(score).encode(), member)
        self._swept(key)
        return new

    def _scored(self, key: bytes, first: bytes, last: bytes) -> list[bytes]:
        value, low, high = self._at(key, _Scores), float(first), float(last)
        return [one for one in value.ordered() if low <= value[one] <= high]

    def zcard(self, key: bytes) -> int:
        return len(self._at(key, _Scores))

    def zcount(self, key: bytes, first: bytes, last: bytes) -> int:
        return len(self._scored(key, first, last))

    def zrange(self, key: bytes, first: bytes, last: bytes, *more: bytes) -> list[bytes]:
        """Without scores."""
        options = [one.upper() for one in more]
        reverse = b"REV" in options
        if b"BYSCORE" not in options:
            ordered = self._at(key, _Scores).ordered()
            return list(_ranged(ordered[::-1] if reverse else ordered, first, last))
        found = self._scored(key, last, first)[::-1] if reverse else self._scored(key, first, last)
        if b"LIMIT" in options:
            at = options.index(b"LIMIT")
            begin, count = int(more[at + 1]), int(more[at + 2])
            found = found[begin : begin + count if count >= 0 else None]
        return found

    def zrem(self, key: bytes, *members: bytes) -> int:
        value = self._at(key, _Scores)
        gone = [member for member in members if value.pop(member, None) is not None]
        if gone:
            self._told(b"ZREM", key, *gone)
            self._swept(key)
        return len(gone)

    def zremrangebyscore(self, key: bytes, first: bytes, last: bytes) -> int:
        return self.zrem(key, *self._scored(key, first, last))

    def zremrangebyrank(self, key: bytes, first: bytes, last: bytes) -> int:
        return self.zrem(key, *_ranged(self._at(key, _Scores).ordered(), first, last))

    # Lists.

    def lpush(self, key: bytes, *items: bytes) -> int:
        value = self._at(key, list, list)
        for item in items:
            value.insert(0, item)
        self._told(b"LPUSH", key, *items)
        return len(value)

    def lrange(self, key: bytes, first: bytes, last: bytes) -> list[bytes]:
        return list(_ranged(self._at(key, list), first, last))

    def lrem(self, key: bytes, count: bytes, item: bytes) -> int:
        """Only with a count above 0: that many, from the head."""
        value, removed = self._at(key, list), 0
        while item in value and removed < int(count):
            value.remove(item)
            removed += 1
        if removed:
            self._told(b"LREM", key, count, item)
            self._swept(key)
        return removed

    # Streams.

    def xadd(self, key: bytes, *more: bytes) -> bytes:
        at = 0
        if more[0].upper() == b"MAXLEN":
            at = 3 if more[1] in {b"~", b"="} else 2
        stream = self._at(key, Stream, Stream)
        if more[at] == b"*":
            ms, count = stream.last
            new = (self._now_ms, 0) if self._now_ms > ms else (ms, count + 1)
        else:
            new = _id(more[at])
            if new <= stream.last:
                self._swept_stream(key, stream)
                raise Refused(
                    "ERR The ID specified in XADD is equal or smaller than the target stream top "
                    "item"
                )
        stream.last = new
        stream.entries.append((new, tuple(more[at + 1 :])))
        named = b"%d-%d" % new
        self._told(b"XADD", key, named, *more[at + 1 :])
        if at > 1:
            slack = _TRIM_SLACK if more[1] == b"~" else 0
            self._cut(key, stream, max(0, len(stream.entries) - int(more[at - 1]) - slack))
        return named

    def _swept_stream(self, key: bytes, stream: Stream) -> None:
        if stream.last == (0, 0):
            del self.keys[key]

    def _cut(self, key: bytes, stream: Stream, count: int) -> int:
        if count:
            del stream.entries[:count]
            self._told(b"XTRIM", key, b"MAXLEN", b"%d" % len(stream.entries))
        return count

    def xtrim(self, key: bytes, how: bytes, limit: bytes) -> int:
        stream = self._at(key, Stream)
        if how.upper() == b"MINID":
            gone = sum(one < _id(limit) for one, _ in stream.entries)
        else:
            gone = max(0, len(stream.entries) - int(limit))
        return self._cut(key, stream, gone)

    def xlen(self, key: bytes) -> int:
        return len(self._at(key, Stream).entries)

    def xrange(self, key: bytes, first: bytes, last: bytes, *more: bytes) -> list[Reply]:
        stream = self._at(key, Stream)
        found = (one for one in stream.entries if _in(one[0], first, last))
        return _entries(found, _option(more, b"COUNT"))

    def xrevrange(self, key: bytes, last: bytes, first: bytes, *more: bytes) -> list[Reply]:
        stream = self._at(key, Stream)
        found = (one for one in reversed(stream.entries) if _in(one[0], first, last))
        return _entries(found, _option(more, b"COUNT"))

    def xread(self, *more: bytes) -> dict[bytes, Reply] | None:
        """Of one stream; `BLOCK` is its server's."""
        options = [one.upper() for one in more]
        at = options.index(b"STREAMS")
        key, after = more[at + 1], more[at + 2]
        found = self.xrange(key, b"(" + after, b"+", *more[:at])
        return {key: found} if found else None


def _option(more: Sequence[bytes], name: bytes, default: Any = None) -> Any:
    options = [one.upper() for one in more]
    return more[options.index(name) + 1] if name in options else default


def _ranged(items: Sequence[Any], first: bytes, last: bytes) -> Sequence[Any]:
    begin, end = int(first), int(last)
    begin = max(begin + len(items), 0) if begin < 0 else begin
    end = end + len(items) if end < 0 else end
    return items[begin : end + 1]


def _id(text: bytes) -> tuple[int, int]:
    ms, _, count = text.partition(b"-")
    return int(ms), int(count or 0)


def _in(one: tuple[int, int], first: bytes, last: bytes) -> bool:
    if first != b"-":
        low = _id(first.lstrip(b"("))
        if one < low or (first[:1] == b"(" and one == low):
            return False
    if last == b"+":
        return True
    ms, dash, count = last.lstrip(b"(").partition(b"-")
    high = (int(ms), int(count) if dash else 2**64 - 1)
    return one < high or (one == high and last[:1] != b"(")


def _entries(found: Iterable[tuple[Any, Any]], count: bytes | None) -> list[Reply]:
    most = int(count) if count is not None else None
    return [
        [b"%d-%d" % one, list(fields)]
        for place, (one, fields) in enumerate(found)
        if most is None or place < most
    ]


_NAMED = (
    *("exists", "type", "rename", "pexpireat", "pexpire", "expire", "expireat", "persist", "pttl"),
    *("scan", "flushall", "time", "get", "getrange", "set", "hget", "hmget", "hgetall", "hset"),
    "hsetnx",
    *("hdel", "hexists", "hlen", "hkeys", "hincrby", "hscan", "sadd", "srem", "smembers"),
    *("zadd", "zcard", "zcount", "zrange", "zrem", "zremrangebyscore", "zremrangebyrank"),
    *("sismember", "lpush", "lrange", "lrem", "xadd", "xtrim", "xlen", "xrange", "xrevrange"),
    "xread",
)
COMMANDS: dict[bytes, Callable[..., Reply]] = {
    **{name.upper().encode(): getattr(Database, name) for name in _NAMED},
    b"DEL": Database.delete,
    b"UNLINK": Database.delete,
}
WRITES = frozenset(
    (
        *(b"DEL", b"UNLINK", b"RENAME", b"PEXPIREAT", b"PEXPIRE", b"EXPIRE", b"EXPIREAT"),
        *(b"PERSIST", b"FLUSHALL", b"SET", b"HSET", b"HSETNX", b"HDEL", b"HINCRBY"),
        *(b"SADD", b"SREM"),
        *(b"ZADD", b"ZREM", b"ZREMRANGEBYSCORE", b"ZREMRANGEBYRANK"),
        *(b"LPUSH", b"LREM", b"XADD", b"XTRIM"),
    )
)
"""Commands that a replica refuses."""
