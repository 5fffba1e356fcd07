-- Forgets a base that was not published. KEYS head, writing; ARGV its generation.
if redis.call('HDEL', KEYS[2], ARGV[1]) == 1 then drop_base(KEYS[1], ARGV[1]) end
return 1
