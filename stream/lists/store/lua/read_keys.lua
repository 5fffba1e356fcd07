-- KEYS any; ARGV items of a key at most -> [now in ms, each key as `whole_key` gives it].
local time, found = redis.call('TIME'), {}
for place, key in ipairs(KEYS) do found[place] = whole_key(key, tonumber(ARGV[1])) end
return {time[1] * 1000 + math.floor(time[2] / 1000), found}
