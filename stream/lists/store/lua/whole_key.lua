-- A key whole, as {kind, ms until it expires (-1: never), items}; false: no such key; items are
-- false beyond `most` of them (0: no limit). A stream's items are never given.
local sizes = {hash = 'HLEN', zset = 'ZCARD', set = 'SCARD', list = 'LLEN', stream = 'XLEN'}
local function whole_key(key, most)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return false end
  local left = redis.call('PTTL', key)
  local size = sizes[kind] and redis.call(sizes[kind], key) or 1
  local items = false
  if (most == 0 or size <= most) and kind ~= 'stream' then
    if kind == 'string' then items = {redis.call('GET', key)}
    elseif kind == 'hash' then items = redis.call('HGETALL', key)
    elseif kind == 'zset' then items = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    elseif kind == 'set' then items = redis.call('SMEMBERS', key)
    elseif kind == 'list' then items = redis.call('LRANGE', key, 0, -1) end
  end
  return {kind, left, items}
end
