-- One audit entry about no list. ARGV actor, reason, op, detail, limit.
audit(ARGV[5], ARGV[1], ARGV[2], '', ARGV[3], 0, ARGV[4])
return 1
