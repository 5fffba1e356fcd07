-- Moves restored keys to their places, all at once. KEYS them; ARGV prefix that they lie under,
-- '1': replace what is there, those that stay whatever happens (prefixes on lines), then of each
-- key the ms since the epoch when it expires (0: never) -> 1, {-3, key}: one is missing, {-2, key}:
-- the list store is not empty.
local prefix, replace, stays = ARGV[1], ARGV[2] == '1', ARGV[3]
-- Looked at first: a script that ends with an error in the middle has changed the first half.
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', prefix .. key) == 0 then return {-3, key} end
end
local there, cursor = {}, '0'
repeat
  local answer = redis.call('SCAN', cursor, 'MATCH', 'rf:*', 'COUNT', 10000)
  cursor = answer[1]
  for _, key in ipairs(answer[2]) do
    local stay = false
    for one in string.gmatch(stays, '[^\n]+') do
      stay = stay or string.sub(key, 1, #one) == one
    end
    if not stay then there[#there + 1] = key end
  end
until cursor == '0'
if #there > 0 and not replace then return {-2, there[1]} end
for _, key in ipairs(there) do redis.call('UNLINK', key) end
for place, key in ipairs(KEYS) do
  redis.call('RENAME', prefix .. key, key)
  local expires = ARGV[3 + place]
  if expires == '0' then redis.call('PERSIST', key) else redis.call('PEXPIREAT', key, expires) end
end
return 1
