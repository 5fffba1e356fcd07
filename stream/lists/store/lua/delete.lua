-- A list and all that is kept of it go; its last generation and chain stay, so that a follower can
-- distinguish a deleted list from a lost one. KEYS head, changed, bases, writing; ARGV name, actor,
-- reason, limits.
local name, actor, reason, changes_max, audit_max = unpack(ARGV)
local head = redis.call('HMGET', KEYS[1], 'generation', 'count')
if not head[1] then return {-1} end
local generation = step(KEYS[1], name, 'delete', actor, changes_max)
redis.call('HSET', 'rf:lists:deleted', name,
           generation .. ' ' .. redis.call('HGET', KEYS[1], 'chain'))
redis.call('SREM', 'rf:lists', name)
for _, base in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do drop_base(KEYS[1], base) end
for _, base in ipairs(redis.call('HKEYS', KEYS[4])) do drop_base(KEYS[1], base) end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
-- Last: an entry has the count after its action.
audit(audit_max, actor, reason, name, 'delete', generation, head[2] .. ' numbers')
return {1, generation, tonumber(head[2])}
