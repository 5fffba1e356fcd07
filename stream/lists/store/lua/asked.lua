-- Run a command; false where the key is of another type. An outage still raises.
local function asked(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then return false end
  return answer
end
