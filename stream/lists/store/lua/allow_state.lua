-- KEYS rf:allow:head, rf:allow -> [[generation, chain], texts and entries], of one moment; nil
-- where the latter is no hash.
return {asked('HMGET', KEYS[1], 'generation', 'chain') or {'', ''}, asked('HGETALL', KEYS[2])}
