"""The book of appeals' Lua: one step of one appeal is one atomic write, its audit entry in it.

A step that puts a block right writes the allow entry in the same script, so that no appeal says
`redressed` while its number is still blocked, and none is lifted without an answer.

Answers begin with a status: 1 done, 0 there is one already (its id follows), or as in
`lists.scripts`.
"""

from stream.lists.store.list_lua import STEP

FULL = -3
"""As many appeals are open as may be."""

APPEAL = (
    STEP
    + """
local id, seen, record, subject = unpack(ARGV, 1, 4)
local actor, reason, op, list, detail = unpack(ARGV, 5, 9)
local text, entry, masked, register = unpack(ARGV, 10, 13)
local changes_max, audit_max, open_max, closed_max, kept_s = unpack(ARGV, 14)
local book, states, about = KEYS[1], KEYS[1] .. ':state:', KEYS[1] .. ':list:{'
local function held(appeal)
  local found = redis.call('HGET', book, appeal)
  if not found then return '0', nil end
  local version, json = string.match(found, '^(%d+) (.*)$')
  return version, cjson.decode(json)
end
local function state_of(appeal) return appeal.history[#appeal.history].state end
local function forget(gone)
  local _, appeal = held(gone)
  redis.call('ZREM', book .. ':closed', gone)
  if not appeal then return end
  redis.call('HDEL', book, gone)
  redis.call('ZREM', states .. state_of(appeal), gone)
  for _, named in ipairs(appeal.lists) do redis.call('ZREM', about .. named.list .. '}', gone) end
  local decision = appeal.decision_id
  if decision and redis.call('HGET', book .. ':decisions', decision) == gone then
    redis.call('HDEL', book .. ':decisions', decision)
  end
  if appeal.partner then
    redis.call('HDEL', book .. ':subjects',
               appeal.partner .. ' ' .. appeal.partner_appeal .. ' ' .. appeal.lists[1].list)
  end
end
local version, before = held(id)
if version ~= seen then return {-2} end
if not before then
  local other = redis.call('HGET', book .. ':subjects', subject)
  if other then return {0, other} end
  if redis.call('ZCARD', book .. ':open') >= tonumber(open_max) then return {-3} end
end
local time = redis.call('TIME')
local now_s, answered_s = tonumber(time[1]), time[1] + time[2] / 1000000
local after = cjson.decode(record)
local state, steps = state_of(after), #after.history
redis.call('HSET', book, id, steps .. ' ' .. record)
if before then redis.call('ZREM', states .. state_of(before), id) end
redis.call('ZADD', states .. state, after.received_at_s, id)
if not before then
  redis.call('HSET', book .. ':subjects', subject, id)
  if after.decision_id then redis.call('HSET', book .. ':decisions', after.decision_id, id) end
  for _, named in ipairs(after.lists) do
    redis.call('ZADD', about .. named.list .. '}', after.received_at_s, id)
  end
end
if state == 'received' or state == 'pending_owner' then
  redis.call('ZADD', book .. ':open', after.deadline_at_s, id)
else
  redis.call('ZREM', book .. ':open', id)
  redis.call('ZADD', book .. ':closed', answered_s, id)
  if not after.partner then redis.call('HDEL', book .. ':subjects', subject) end
end
if text ~= '' then
  if redis.call('HSETNX', 'rf:register', 'id', register) == 1 then
    redis.call('HSET', 'rf:register', 'created_at_s', now_s, 'format', '1')
  end
  local generation = step(KEYS[2], '', 'allow', entry, changes_max)
  redis.call('HSET', 'rf:allow', text, entry)
  audit(audit_max, actor, reason, '', 'allow', generation, masked)
end
audit(audit_max, actor, reason, list, op, 0, detail)
local many = redis.call('ZCARD', book .. ':closed') - tonumber(closed_max)
if many > 0 then
  for _, gone in ipairs(redis.call('ZRANGE', book .. ':closed', 0, math.min(many, 100) - 1)) do
    forget(gone)
  end
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', book .. ':closed', '-inf', answered_s - kept_s,
                                 'LIMIT', 0, 100)) do forget(gone) end
return {1, steps}
"""
)
"""One step of an appeal. KEYS rf:appeals, rf:allow:head; ARGV id, version seen (0: it is new), its
record after the step, what may be under appeal only once; actor, reason, op, list and detail for
the audit; the text of an allow entry ("": none), its payload, its masked text, id for a new
register; limits: steps and audit entries kept, appeals open at most, answered ones kept at most,
and for how many seconds."""
