-- One moment of the list store. KEYS those to give whole -> [now in ms, last id of rf:changes, last
-- id of rf:audit, [[name, head]], keys].
local function last_id(stream)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  return last[1] and last[1][1] or '0-0'
end
local time, lists, found = redis.call('TIME'), {}, {}
for _, name in ipairs(redis.call('SMEMBERS', 'rf:lists')) do
  lists[#lists + 1] = {name, redis.call('HGETALL', 'rf:list:{' .. name .. '}')}
end
for place, key in ipairs(KEYS) do found[place] = whole_key(key, 0) end
return {time[1] * 1000 + math.floor(time[2] / 1000), last_id('rf:changes'), last_id('rf:audit'),
        lists, found}
