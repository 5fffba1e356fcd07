-- KEYS rf:trials, rf:trials:head -> [list store id, generation, all records], of one moment.
return {redis.call('HGET', 'rf:register', 'id'), asked('HGET', KEYS[2], 'generation'),
        asked('HGETALL', KEYS[1])}
