-- KEYS rf:trials, rf:trials:head; ARGV target, the record seen before ('': none), the new one ('':
-- it is retracted), the list that it concerns or '', id for a new list store; actor, reason, op,
-- detail for the audit, and how many audit entries are kept.
local target, seen, record, list, id = unpack(ARGV, 1, 5)
local actor, reason, op, detail, audit_max = unpack(ARGV, 6, 10)
if (redis.call('HGET', KEYS[1], target) or '') ~= seen then return {-2} end
local time = redis.call('TIME')
name_store(id)
local before = tonumber(redis.call('HGET', KEYS[2], 'generation') or 0)
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local generation = string.format('%d', math.max(before + 1, now_ms))
redis.call('HSET', KEYS[2], 'generation', generation)
if record == '' then redis.call('HDEL', KEYS[1], target)
else redis.call('HSET', KEYS[1], target, record) end
audit(audit_max, actor, reason, list, op, generation, detail)
return {1, tonumber(generation)}
