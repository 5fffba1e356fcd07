"""The keys that SIP proxies read: a contract of its own, apart from the list store's `rf:`.

| key | type | holds |
|---|---|---|
| `bl:+66812345678` | hash | a number that may not call: see `FIELDS` |
| `bl:+8552390*` | hash | the same for all that begin so; a number's longest key decides |
| `bl:meta` | hash | `version built_at count prefix_digits` for proxies, `build redis data` for us |
| `bl:read` | hash | for us: `mark` of these data; by partition, the data that have its decisions |

Every value is at most 64 bytes, so that Redis keeps a hash as one small list of bytes. A longer one
(a whole Reason header) would make each key three times as large.

Scripts write many keys each: one command for 500 numbers instead of 1,000. They also decide in
Redis which keys to leave as they are, since several sinks may write at once.
"""

from typing import NamedTuple

PREFIX = "bl:"
META = "bl:meta"
READ = "bl:read"
FORMAT = "1"
ALLOW, BLOCK = "allow", "block"
FIELDS = ("action", "reason", "list", "decision_id", "expires_at", "decided_at")
"""`action`: block, or allow for a number or range inside a blocked prefix. `reason`: the category.
`list`: the deciding list. `expires_at`: seconds since the epoch, when the key itself expires.
`decided_at`: milliseconds since the epoch, 0 where no call was decided yet."""

PUT = """
local call, puts = redis.call, cmsgpack.unpack(ARGV[1])
for _, put in ipairs(puts) do
    local key, ends, decided = 'bl:' .. put[1], put[6], put[7]
    local at = put[2] == 'block' and call('HGET', key, 'decided_at')
    if at and tonumber(at) > tonumber(decided) then
        if decided == '0' then
            call('HSET', key, 'expires_at', ends)
            call('EXPIREAT', key, ends)
        end
    else
        call('HSET', key, 'action', put[2], 'reason', put[3], 'list', put[4],
            'decision_id', put[5], 'expires_at', ends, 'decided_at', decided)
        call('EXPIREAT', key, ends)
    end
end
return #puts
"""
"""Many `Put`s, as MessagePack: packing 3,500 arguments costs Python more than writing 500 keys
costs Redis. Times come as texts: Lua's way from number to text costs Redis 1 us a key. An older
decision leaves a newer one unchanged. A key that no call decided (`decided_at` 0) only sets the end
of one that a call did, earlier too: an entry may be given an earlier end. An exception replaces
anything."""

LOAD = """
local page = redis.call('SCAN', ARGV[1], 'MATCH', 'bl:+*', 'COUNT', ARGV[2])
local found = {page[1]}
for _, key in ipairs(page[2]) do
    local held = redis.call('HMGET', key, 'action', 'expires_at', 'decided_at')
    found[#found + 1] = string.sub(key, 4)
    found[#found + 1] = held[1] or ''
    found[#found + 1] = held[2] or '0'
    found[#found + 1] = held[3] or '0'
end
return found
"""
"""A portion of our keys: the next cursor, then four values each."""

BEAT = """
if redis.call('HGET', KEYS[1], 'build') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'built_at', ARGV[2], 'count', ARGV[3], 'prefix_digits', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'version', ARGV[5])
return 1
"""
"""Writes that the keys are right as of now. Returns 0: `bl:meta` is gone, or of another build."""


STANDING = """
local mark = redis.call('HGET', KEYS[2], 'mark')
if not mark then
    mark = ARGV[1]
    redis.call('HSET', KEYS[2], 'mark', mark)
end
return {mark, redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
"""
"""Marks data that have no mark yet, and returns `bl:meta` and `bl:read` of one moment."""

HAS_READ = """
if redis.call('HGET', KEYS[1], 'mark') ~= ARGV[1] then return false end
for place = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[place], ARGV[2]) end
return redis.call('HGETALL', KEYS[1])
"""
"""Writes the partitions whose decisions these data have. Returns nil: the data were deleted since
they were marked. Without the mark, partitions read before a FLUSHALL would count as read after."""


class Put(NamedTuple):
    """One key to write; `text` is the number, or a prefix with its `*`. See `FIELDS`."""

    text: str
    action: str
    reason: str
    list: str
    decision_id: str
    expires_at_s: int
    decided_at_ms: int


class Held(NamedTuple):
    """One key that is there."""

    text: str
    action: str
    expires_at_s: int
    decided_at_ms: int
