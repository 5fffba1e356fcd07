"""The list store's Lua: each script is one atomic change, written to all its places or to none.

A change gets the list's next generation and joins its chain, the SHA-1 of the chain before and of
generation, op and payload on lines of their own. By it a follower notices a missing or altered step
(`store_codec.chain_after`). The streams are cut to about their limits.

Each audit entry is numbered and carries the hash of the one before and its own, which covers both
that and all its fields (`audit_entries.hash_of`); `rf:audit:head` holds the last number, hash, id.

Answers begin with a status: 1 done, 0 nothing to do, or one of the negative ones below.
"""

from stream import __version__

UNKNOWN = -1
"""No such list."""
MOVED = -2
"""The base, generation or change is not the expected one any more."""

STEP = (
    f"""
local ringfence = '{__version__}'
"""
    """
local function step(head, name, op, payload, limit)
  local generation = redis.call('HINCRBY', head, 'generation', 1)
  local before = redis.call('HGET', head, 'chain') or ''
  local chain = redis.sha1hex(before .. '\\n' .. generation .. '\\n' .. op .. '\\n' .. payload)
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
  local count = redis.call('HGET', 'rf:list:{' .. name .. '}', 'count')
                or redis.call('HLEN', 'rf:allow')
  generation, count = tostring(generation), tostring(count)
  local hash = redis.sha1hex(table.concat({before, '\\n', #number, ':', number, '\\n', #at_s, ':',
    at_s, '\\n', #actor, ':', actor, '\\n', #reason, ':', reason, '\\n', #name, ':', name, '\\n',
    #op, ':', op, '\\n', #generation, ':', generation, '\\n', #detail, ':', detail, '\\n',
    #count, ':', count}))
  local id = redis.call('XADD', 'rf:audit', 'MAXLEN', '~', limit, '*', 'before', before,
    'hash', hash, 'number', number, 'at_s', at_s, 'actor', actor, 'reason', reason, 'list', name,
    'op', op, 'generation', generation, 'detail', detail, 'count', count)
  redis.call('HSET', 'rf:audit:head', 'hash', hash, 'count', number, 'id', id)
end
local function name_store(id)
  if redis.call('HSETNX', 'rf:register', 'id', id) == 1 then
    redis.call('HSET', 'rf:register', 'created_at_s', redis.call('TIME')[1], 'format', '1')
  end
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
"""
)
"""`step`: the list's next generation, in its chain and in the change stream, with the version of
Ringfence that wrote it: a reader that does not know the operation can name it. `audit`: one entry.
`name_store`: the identity of a list store that has none yet. `retain`: bases beyond the first
`kept` are removed, and those replaced longer than `age_s` ago (0: never); the live one, which is
the first, stays."""

ASKED = """
local function asked(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then return false end
  return answer
end
"""
"""Run a command; false where the key is of another type. An outage still raises."""

HEADS = (
    ASKED
    + """
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
"""
)
"""KEYS rf:lists -> [list store id, last step's id, [allow generation, chain], [[name, head, n]],
deleted lists].

A key of another type is an empty head: it must not hide the others."""

STATE = (
    ASKED
    + """
return {asked('HMGET', KEYS[1], 'generation', 'base', 'chain', 'circle', 'count',
        'created_at_s', 'actor', 'scope'), asked('HGETALL', KEYS[2])}
"""
)
"""KEYS head, changed -> [head, all changes], of one moment; nil where a key is no hash."""

ALLOW_STATE = (
    ASKED
    + """
return {asked('HMGET', KEYS[1], 'generation', 'chain') or {'', ''}, asked('HGETALL', KEYS[2])}
"""
)
"""KEYS rf:allow:head, rf:allow -> [[generation, chain], texts and entries], of one moment; nil
where the latter is no hash."""

CREATE = (
    STEP
    + """
local name, id, circle, actor, reason, changes_max, audit_max, again = unpack(ARGV)
if redis.call('SISMEMBER', 'rf:lists', name) == 1 then return {0} end
if again == '' then
  for _, other in ipairs(redis.call('SMEMBERS', 'rf:lists')) do
    if string.lower(other) == string.lower(name) then return {-4, other} end
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
"""
)
"""One of that name that was deleted goes on with its generations and its chain, so that followers
never see them go back.

KEYS head; ARGV name, id for a new list store, circle, actor, reason, limits, "" or that it comes
back -> {1, generation}, {0}: it is there, {-4, name}: another differs by its capitals alone."""

DELETE = (
    STEP
    + """
local name, actor, reason, changes_max, audit_max = unpack(ARGV)
local head = redis.call('HMGET', KEYS[1], 'generation', 'count')
if not head[1] then return {-1} end
local generation = step(KEYS[1], name, 'delete', actor, changes_max)
audit(audit_max, actor, reason, name, 'delete', generation, head[2] .. ' numbers')
redis.call('HSET', 'rf:lists:deleted', name,
           generation .. ' ' .. redis.call('HGET', KEYS[1], 'chain'))
redis.call('SREM', 'rf:lists', name)
for _, base in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do drop_base(KEYS[1], base) end
for _, base in ipairs(redis.call('HKEYS', KEYS[4])) do drop_base(KEYS[1], base) end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return {1, generation, tonumber(head[2])}
"""
)
"""A list and all that is kept of it go; its last generation and chain stay, so that a follower can
distinguish a deleted list from a lost one. KEYS head, changed, bases, writing; ARGV name, actor,
reason, limits.
"""

CHANGE = (
    STEP
    + """
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
"""
)
"""One number's reports from now on, or their end. KEYS head, changed; ARGV name, op, fingerprint,
payload, whether the base holds the number (1|0), the base this was asked of, the generation of the
change that it was made from (0: none over the base, '': whatever it is), actor, reason, detail,
limits."""

RESERVE = (
    STEP
    + """
local name, actor, changes_max = unpack(ARGV)
local base = redis.call('HGET', KEYS[1], 'base')
if not base then return {-1} end
local generation, id = step(KEYS[1], name, 'reserve', actor, changes_max)
redis.call('HSET', KEYS[2], generation, id)
return {1, generation, tonumber(base)}
"""
)
"""A generation for a new base, which will hold all changes up to it. KEYS head, writing; ARGV name,
actor, limit."""

PUBLISH = (
    STEP
    + """
local name, base, seen, old, count, payload, actor, reason, floor = unpack(ARGV, 1, 9)
local kept, age_s, changes_max, audit_max, circle = unpack(ARGV, 10)
local head = redis.call('HMGET', KEYS[1], 'generation', 'base')
if not head[1] then return {-1} end
if head[1] ~= seen or head[2] ~= old then return {-2} end
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
           'reserved_id', redis.call('HGET', KEYS[4], base) or id)
redis.call('LPUSH', KEYS[3], base)
retain(KEYS[1], KEYS[3], tonumber(kept), tonumber(age_s))
-- Bases that others are writing were made to replace the old base, and cannot be published now.
for _, other in ipairs(redis.call('HKEYS', KEYS[4])) do
  if other ~= base then drop_base(KEYS[1], other) end
end
redis.call('DEL', KEYS[4])
audit(audit_max, actor, reason, name, 'base', generation, payload)
return {1, generation}
"""
)
"""Moves the list to a base that was written beside the old one, if neither base nor generation
changed since they were seen. KEYS head, the new base, bases, writing; ARGV
name, base, generation seen, old base, count, payload, actor, reason, generation to pass, bases
kept, how long, limits, the circle to be of ("": as before)."""

DISCARD = (
    STEP
    + """
if redis.call('HDEL', KEYS[2], ARGV[1]) == 1 then drop_base(KEYS[1], ARGV[1]) end
return 1
"""
)
"""Forgets a base that was not published. KEYS head, writing; ARGV its generation."""

RETAIN = (
    STEP
    + """
return retain(KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2]))
"""
)
"""Lets go of bases kept for longer than wanted; how many. KEYS head, bases; ARGV bases kept, how
long in seconds."""

ARCHIVE = """
-- Another process archived the same steps first.
if (redis.call('GET', KEYS[2]) or '0-0') ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[4], ARGV[2], 'steps', ARGV[3])
local age_s = tonumber(ARGV[5])
if age_s > 0 then
  local oldest_s = redis.call('TIME')[1] - age_s
  redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', oldest_s * 1000))
end
redis.call('SET', KEYS[2], ARGV[2])
return 1
"""
"""Puts a piece of the change stream away, if what was put away last is still what it was. KEYS
rf:past, rf:past:upto; ARGV the last id put away before, the piece's last id, the piece, pieces
kept, the age in seconds at which pieces go (0: never)."""

SCOPE = (
    STEP
    + """
local name, scope, actor, reason, changes_max, audit_max = unpack(ARGV)
local head = redis.call('HMGET', KEYS[1], 'generation', 'scope')
if not head[1] then return {-1} end
if head[2] == scope then return {0, tonumber(head[1])} end
redis.call('HSET', KEYS[1], 'scope', scope)
local generation = step(KEYS[1], name, 'scope', scope, changes_max)
audit(audit_max, actor, reason, name, 'scope', generation, scope)
return {1, generation}
"""
)
"""Sets the scope of a list's feed. It is a step of the list like its entries, so that followers
know it before those that come with it. KEYS head; ARGV name, scope, actor, reason, limits.
"""

SWEEP = """
local base = tonumber(redis.call('HGET', KEYS[1], 'base'))
local swept = 0
for _, fingerprint in ipairs(ARGV) do
  local last = redis.call('HGET', KEYS[2], fingerprint)
  local generation = tonumber(last and string.match(last, '^%d+ '))
  if generation and generation <= base then  -- what cannot be read stays for somebody to look at
    swept = swept + redis.call('HDEL', KEYS[2], fingerprint)
  end
end
return swept
"""
"""Forgets changes that the base holds. KEYS head, changed; ARGV fingerprints."""

ALLOW = (
    STEP
    + """
local text, op, payload, actor, reason, detail, changes_max, audit_max, id = unpack(ARGV)
if op == 'disallow' and redis.call('HEXISTS', 'rf:allow', text) == 0 then return {0} end
name_store(id)
local generation = step(KEYS[1], '', op, payload, changes_max)
if op == 'allow' then redis.call('HSET', 'rf:allow', text, payload)
else redis.call('HDEL', 'rf:allow', text) end
audit(audit_max, actor, reason, '', op, generation, detail)
return {1, generation}
"""
)
"""One allow entry, made or removed. KEYS rf:allow:head; ARGV text, op, payload, actor, reason,
detail, limits, id for a new list store."""

ALLOW_PASS = (
    STEP
    + """
local generation = tonumber(redis.call('HGET', KEYS[1], 'generation') or 0)
local passed = math.max(generation, tonumber(ARGV[1])) + 1
redis.call('HSET', KEYS[1], 'generation', passed)
audit(ARGV[4], ARGV[2], ARGV[3], '', 'repair', passed, 'generation ' .. generation)
return passed
"""
)
"""Takes the allowlist's generation above one that the list store has lost. KEYS rf:allow:head; ARGV
that generation, actor, reason, limit."""

NOTE = (
    STEP
    + """
audit(ARGV[5], ARGV[1], ARGV[2], '', ARGV[3], 0, ARGV[4])
return 1
"""
)
"""One audit entry about no list. ARGV actor, reason, op, detail, limit."""

FEED = (
    STEP
    + """
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
"""
)
"""Writes the state of a feed, and one audit entry. KEYS feed; ARGV list, actor, reason, op (empty:
no entry), generation, detail, limit, then fields and values, '' for none.
"""
