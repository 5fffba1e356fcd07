-- One of that name that was deleted goes on with its generations and its chain, so that followers
-- never see them go back.
--
-- KEYS head; ARGV name, id for a new list store, circle, actor, reason, limits, "" or that it comes
-- back -> {1, generation}, {0}: it is there, {-4, name}: another differs by its capitals alone.
local name, id, circle, actor, reason, changes_max, audit_max, again = unpack(ARGV)
if redis.call('SISMEMBER', 'rf:lists', name) == 1 then return {0} end
if again == '' then
  local lower = string.lower
  local folded = lower(name)
  for _, other in ipairs(redis.call('SMEMBERS', 'rf:lists')) do
    if lower(other) == folded then return {-4, other} end
  end
end
redis.call('SADD', 'rf:lists', name)
name_store(id)
-- A list that comes back goes on with its generations and chain: followers never see them go back.
local before = redis.call('HGET', 'rf:lists:deleted', name)
local past, chain = string.match(before or '', '^(%d+) (.*)$')
past, chain = past or '0', chain or ''
redis.call('HDEL', 'rf:lists:deleted', name)
redis.call('HSET', KEYS[1], 'generation', past, 'base', 0, 'chain', chain, 'circle', circle,
           'count', 0, 'created_at_s', redis.call('TIME')[1], 'actor', actor)
local generation = step(KEYS[1], name, 'create', circle, changes_max)
audit(audit_max, actor, reason, name, 'create', generation, circle)
return {1, generation}
