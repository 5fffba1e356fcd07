-- One allow entry, made or removed. KEYS rf:allow:head; ARGV text, op, payload, actor, reason,
-- detail, limits, id for a new list store.
local text, op, payload, actor, reason, detail, changes_max, audit_max, id = unpack(ARGV)
if op == 'disallow' and redis.call('HEXISTS', 'rf:allow', text) == 0 then return {0} end
name_store(id)
local generation = step(KEYS[1], '', op, payload, changes_max)
if op == 'allow' then redis.call('HSET', 'rf:allow', text, payload)
else redis.call('HDEL', 'rf:allow', text) end
audit(audit_max, actor, reason, '', op, generation, detail)
return {1, generation}
