-- Lets go of bases kept for longer than wanted; how many. KEYS head, bases; ARGV bases kept, how
-- long in seconds.
return retain(KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2]))
