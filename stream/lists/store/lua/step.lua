-- `step`: the list's next generation, in its chain and in the change stream, with the version of
-- Ringfence that wrote it: a reader that does not know the operation can name it. `audit`: one
-- entry. `name_store`: the identity of a list store that has none yet. `retain`: bases beyond the
-- first `kept` are removed, and those replaced longer than `age_s` ago (0: never); the live one,
-- which is the first, stays.
local function step(head, name, op, payload, limit)
  local generation = redis.call('HINCRBY', head, 'generation', 1)
  local before = redis.call('HGET', head, 'chain') or ''
  local chain = redis.sha1hex(before .. '\n' .. generation .. '\n' .. op .. '\n' .. payload)
  redis.call('HSET', head, 'chain', chain)
  local id = redis.call('XADD', 'rf:changes', 'MAXLEN', '~', limit, '*', 'list', name,
                        'generation', generation, 'op', op, 'payload', payload, 'chain', chain,
                        'version', ringfence)
  return generation, id
end
local function audit(limit, actor, reason, name, op, generation, detail)
  local at_s = redis.call('TIME')[1]
  local head = redis.call('HMGET', 'rf:audit:head', 'hash', 'count')
  local before, number = head[1] or '', string.format('%d', (head[2] or 0) + 1)
  -- An entry may name a list that is gone: an appeal against it, for example. It has no numbers.
  local count = redis.call('HGET', 'rf:list:{' .. name .. '}', 'count')
                or (name == '' and redis.call('HLEN', 'rf:allow') or '0')
  generation, count = tostring(generation), tostring(count)
  local hash = redis.sha1hex(table.concat({before, '\n', #number, ':', number, '\n', #at_s, ':',
    at_s, '\n', #actor, ':', actor, '\n', #reason, ':', reason, '\n', #name, ':', name, '\n',
    #op, ':', op, '\n', #generation, ':', generation, '\n', #detail, ':', detail, '\n',
    #count, ':', count}))
  local id = redis.call('XADD', 'rf:audit', 'MAXLEN', '~', limit, '*', 'before', before,
    'hash', hash, 'number', number, 'at_s', at_s, 'actor', actor, 'reason', reason, 'list', name,
    'op', op, 'generation', generation, 'detail', detail, 'count', count)
  redis.call('HSET', 'rf:audit:head', 'hash', hash, 'count', number, 'id', id)
end
local function name_store(id)
  if redis.call('HSETNX', 'rf:register', 'id', id) == 1 then
    redis.call('HSET', 'rf:register', 'created_at_s', redis.call('TIME')[1])
  end
  redis.call('HSETNX', 'rf:register', 'format', '1')  -- not there: written before it was numbered
end
local function drop_base(head, gone)
  local key = head .. ':base:' .. gone
  local blobs = redis.call('HGET', key, 'blobs')
  for i = 0, tonumber(blobs or 0) - 1 do redis.call('UNLINK', key .. ':' .. i) end
  redis.call('UNLINK', key)
end
local function retain(head, bases, kept, age_s)
  local now, dropped = tonumber(redis.call('TIME')[1]), 0
  local replaced_s = now
  for place, base in ipairs(redis.call('LRANGE', bases, 0, -1)) do
    local id = redis.call('HGET', head .. ':base:' .. base, 'published_id') or '0'
    if place > 1 and (place > kept or (age_s > 0 and now - replaced_s > age_s)) then
      drop_base(head, base)
      redis.call('LREM', bases, 1, base)
      dropped = dropped + 1
    end
    replaced_s = tonumber(string.match(id, '^%d+')) / 1000
  end
  return dropped
end
