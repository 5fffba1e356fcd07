-- A generation for a new base, which will hold all changes up to it. KEYS head, writing; ARGV name,
-- actor, limit.
local name, actor, changes_max = unpack(ARGV)
local base = redis.call('HGET', KEYS[1], 'base')
if not base then return {-1} end
local generation, id = step(KEYS[1], name, 'reserve', actor, changes_max)
redis.call('HSET', KEYS[2], generation, id)
return {1, generation, tonumber(base)}
