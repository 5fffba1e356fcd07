-- Moves the list to a base that was written beside the old one, if neither base nor generation
-- changed since they were seen. KEYS head, the new base, bases, writing; ARGV name, base,
-- generation seen, old base, count, payload, actor, reason, generation to pass, bases kept, how
-- long, limits, the circle to be of ("": as before).
local name, base, seen, old, count, payload, actor, reason, floor = unpack(ARGV, 1, 9)
local kept, age_s, changes_max, audit_max, circle = unpack(ARGV, 10)
local head = redis.call('HMGET', KEYS[1], 'generation', 'base')
if not head[1] then return {-1} end
if head[1] ~= seen or head[2] ~= old then return {-2} end
-- A list that was deleted and created again has no base, as perhaps before. Its reservations went
-- with it: what was read of it then is not published as the new list.
local reserved_id = redis.call('HGET', KEYS[4], base)
if not reserved_id then return {-3} end
-- The base was written to expire by itself. It goes live only if every blob is still there, and
-- PERSIST comes before the pointer moves: a list must never point to a base that can expire.
local blobs = redis.call('HGET', KEYS[2], 'blobs')
if not blobs or redis.call('PERSIST', KEYS[2]) == 0 then return {-2} end
for i = 0, tonumber(blobs) - 1 do
  if redis.call('PERSIST', KEYS[2] .. ':' .. i) == 0 then
    return redis.error_reply('blob ' .. i .. ' of ' .. KEYS[2] .. ' is gone')
  end
end
redis.call('HSET', KEYS[1], 'base', base, 'count', count)
if circle ~= '' then redis.call('HSET', KEYS[1], 'circle', circle) end
if tonumber(floor) > tonumber(seen) then redis.call('HSET', KEYS[1], 'generation', floor) end
local generation, id = step(KEYS[1], name, 'base', payload, changes_max)
redis.call('HSET', KEYS[2], 'published', generation, 'published_id', id, 'count', count,
           'reserved_id', reserved_id)
redis.call('LPUSH', KEYS[3], base)
retain(KEYS[1], KEYS[3], tonumber(kept), tonumber(age_s))
-- Bases that others are writing were made to replace the old base, and cannot be published now.
for _, other in ipairs(redis.call('HKEYS', KEYS[4])) do
  if other ~= base then drop_base(KEYS[1], other) end
end
redis.call('DEL', KEYS[4])
audit(audit_max, actor, reason, name, 'base', generation, payload)
return {1, generation}
