-- Adds to a decimal integer of 64 bits. Lua counts in doubles, so Redis adds, on a scratch key.
-- KEYS: the entry, the scratch key. ARGV: delta, lifetime in ms of a new entry, new version, most bytes of a value.
-- Answers the sum in decimal, or 'text', 'overflow' or 'large'.
local there = redis.call('GET', KEYS[1])
local text = '0'
local version = ARGV[3]
local head = '\0' .. version
if there then
  local at = 18
  for _ = 1, string.byte(there, 1) do
    at = at + 2 + string.byte(there, at) * 256 + string.byte(there, at + 1)
  end
  head = string.sub(there, 1, 1) .. version .. string.sub(there, 18, at - 1)
  text = string.sub(there, at)
  if #text > 20 then return 'text' end
end
redis.call('SET', KEYS[2], text, 'PX', 1000)
local sum = redis.pcall('INCRBY', KEYS[2], ARGV[1])
if type(sum) == 'table' and sum.err then
  redis.call('DEL', KEYS[2])
  if string.find(sum.err, 'overflow', 1, true) then return 'overflow' end
  if string.find(sum.err, 'not an integer', 1, true) then return 'text' end
  return sum
end
sum = redis.call('GET', KEYS[2])
redis.call('DEL', KEYS[2])
if #sum > tonumber(ARGV[4]) then return 'large' end
if there then
  redis.call('SET', KEYS[1], head .. sum, 'KEEPTTL')
else
  redis.call('SET', KEYS[1], head .. sum, 'PX', ARGV[2])
end
return sum
