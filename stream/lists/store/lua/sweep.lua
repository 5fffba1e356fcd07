-- Forgets changes that the base holds. KEYS head, changed; ARGV fingerprints.
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
