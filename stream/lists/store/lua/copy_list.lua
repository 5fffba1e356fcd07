-- KEYS head, changed, bases -> [head, all changes, generations of its bases], of one moment.
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]),
        redis.call('LRANGE', KEYS[3], 0, -1)}
