-- Puts a piece of the change stream away, if what was put away last is still what it was. KEYS
-- rf:past, rf:past:upto; ARGV the last id put away before, the piece's last id, the piece, pieces
-- kept, the age in seconds at which pieces go (0: never).
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
