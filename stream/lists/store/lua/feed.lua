-- Writes the state of a feed, and one audit entry. KEYS feed; ARGV list, actor, reason, op (empty:
-- no entry), generation, detail, limit, then fields and values, '' for none.
local list, actor, reason, op, generation, detail, audit_max = unpack(ARGV, 1, 7)
local gone, set = {}, {}
for i = 8, #ARGV, 2 do
  if ARGV[i + 1] == '' then gone[#gone + 1] = ARGV[i]
  else set[#set + 1] = ARGV[i]; set[#set + 1] = ARGV[i + 1] end
end
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
if #set > 0 then redis.call('HSET', KEYS[1], unpack(set)) end
if op ~= '' then audit(audit_max, actor, reason, list, op, generation, detail) end
return 1
