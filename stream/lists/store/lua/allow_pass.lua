-- Takes the allowlist's generation above one that the list store has lost. KEYS rf:allow:head; ARGV
-- that generation, actor, reason, limit.
local generation = tonumber(redis.call('HGET', KEYS[1], 'generation') or 0)
local passed = math.max(generation, tonumber(ARGV[1])) + 1
redis.call('HSET', KEYS[1], 'generation', passed)
audit(ARGV[4], ARGV[2], ARGV[3], '', 'repair', passed, 'generation ' .. generation)
return passed
