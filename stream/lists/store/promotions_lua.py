"""One promotion or demotion is one atomic write, its audit entry in it.

Generations are milliseconds of Redis' clock that only rise: after a restore of an older backup the
next step is still newer than whatever workers know, and they follow again.
"""

from stream.lists.store.list_lua import ASKED, STEP

TURN = (
    STEP
    + """
local target, seen, record, list, register = unpack(ARGV, 1, 5)
local actor, reason, op, detail, audit_max = unpack(ARGV, 6, 10)
if (redis.call('HGET', KEYS[1], target) or '') ~= seen then return {-2} end
local time = redis.call('TIME')
if redis.call('HSETNX', 'rf:register', 'id', register) == 1 then
  redis.call('HSET', 'rf:register', 'created_at_s', time[1], 'format', '1')
end
local before = tonumber(redis.call('HGET', KEYS[2], 'generation') or 0)
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local generation = string.format('%d', math.max(before + 1, now_ms))
redis.call('HSET', KEYS[2], 'generation', generation)
if record == '' then redis.call('HDEL', KEYS[1], target)
else redis.call('HSET', KEYS[1], target, record) end
audit(audit_max, actor, reason, list, op, generation, detail)
return {1, tonumber(generation)}
"""
)
"""KEYS rf:trials, rf:trials:head; ARGV target, the record seen before ('': none), the new one ('':
it is taken back), the list that it concerns or '', id for a new register; actor, reason, op, detail
for the audit, and how many audit entries are kept."""

READ = (
    ASKED
    + """
return {redis.call('HGET', 'rf:register', 'id'), asked('HGET', KEYS[2], 'generation'),
        asked('HGETALL', KEYS[1])}
"""
)
"""KEYS rf:trials, rf:trials:head -> [register id, generation, all records], of one moment."""
