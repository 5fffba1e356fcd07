-- One number's reports from now on, or their end. KEYS head, changed; ARGV name, op, fingerprint,
-- payload, whether the base holds the number (1|0), the base this was asked of, the generation of
-- the change that it was made from (0: none over the base, '': whatever it is), actor, reason,
-- detail, limits.
local name, op, fingerprint, payload, in_base, base, seen = unpack(ARGV, 1, 7)
local actor, reason, detail, changes_max, audit_max = unpack(ARGV, 8, 12)
local head = redis.call('HMGET', KEYS[1], 'generation', 'base')
if not head[1] then return {-1} end
-- The caller read the number's reports in this base; in another one they may differ.
if head[2] ~= base then return {-2} end
local there, at = in_base == '1', 0
local last = redis.call('HGET', KEYS[2], fingerprint)
if last then
  local generation, did = string.match(last, '^(%d+) (%a+)')
  generation = tonumber(generation or 0)  -- what cannot be read says nothing of the number
  if generation > tonumber(base) then there, at = did == 'add', generation end
end
-- Another edit of this number came first: its reports are not in the payload, and would be lost.
if seen ~= '' and tonumber(seen) ~= at then return {-2} end
if op == 'remove' and not there then return {0, tonumber(head[1])} end
local generation = step(KEYS[1], name, op, payload, changes_max)
redis.call('HSET', KEYS[2], fingerprint, generation .. ' ' .. op .. ' ' .. payload)
if op == 'add' and not there then redis.call('HINCRBY', KEYS[1], 'count', 1) end
if op == 'remove' then redis.call('HINCRBY', KEYS[1], 'count', -1) end
audit(audit_max, actor, reason, name, op, generation, detail)
return {1, generation, there and 1 or 0}
