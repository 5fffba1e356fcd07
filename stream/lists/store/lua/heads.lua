-- KEYS rf:lists -> [list store id, last step's id, [allow generation, chain], [[name, head, n]],
-- deleted lists].
--
-- A key of another type is an empty head: it must not hide the others.
local lists = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local key = 'rf:list:{' .. name .. '}'
  local fields = asked('HMGET', key, 'generation', 'base', 'chain', 'circle', 'count',
                       'created_at_s', 'actor', 'scope')
  lists[#lists + 1] = {name, fields or {}, asked('HLEN', key .. ':changed') or 0}
end
local last = redis.call('XREVRANGE', 'rf:changes', '+', '-', 'COUNT', 1)
return {redis.call('HGET', 'rf:register', 'id'), last[1] and last[1][1] or '0-0',
        asked('HMGET', 'rf:allow:head', 'generation', 'chain') or {'', ''}, lists,
        asked('HGETALL', 'rf:lists:deleted') or {}}
