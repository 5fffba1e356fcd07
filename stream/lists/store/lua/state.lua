-- KEYS head, changed -> [head, all changes], of one moment; nil where a key is no hash.
return {asked('HMGET', KEYS[1], 'generation', 'base', 'chain', 'circle', 'count',
        'created_at_s', 'actor', 'scope'), asked('HGETALL', KEYS[2])}
