-- Sets the scope of a list's feed. It is a step of the list like its entries, so that followers
-- know it before those that come with it. KEYS head; ARGV name, scope, actor, reason, limits.
local name, scope, actor, reason, changes_max, audit_max = unpack(ARGV)
local head = redis.call('HMGET', KEYS[1], 'generation', 'scope')
if not head[1] then return {-1} end
if head[2] == scope then return {0, tonumber(head[1])} end
redis.call('HSET', KEYS[1], 'scope', scope)
local generation = step(KEYS[1], name, 'scope', scope, changes_max)
audit(audit_max, actor, reason, name, 'scope', generation, scope)
return {1, generation}
