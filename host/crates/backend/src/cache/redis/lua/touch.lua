-- Restarts the lifetime of an entry and of its place in the indexes of its tags.
-- KEYS: the entry. ARGV: lifetime in ms, what the keys of tag indexes begin with.
if redis.call('PEXPIRE', KEYS[1], ARGV[1]) == 0 then return 0 end
-- One byte of count, 16 of version, then each tag after two bytes of length; 16 tags of 256 bytes at most.
local head = redis.call('GETRANGE', KEYS[1], 0, 4144)
local tags = string.byte(head, 1) or 0
if tags > 0 then
  local time = redis.call('TIME')
  local expires = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
  local at = 18
  for _ = 1, tags do
    local length = string.byte(head, at) * 256 + string.byte(head, at + 1)
    local index = ARGV[2] .. string.sub(head, at + 2, at + 1 + length)
    redis.call('ZADD', index, expires, KEYS[1])
    if redis.call('PEXPIRE', index, ARGV[1], 'NX') == 0 then
      redis.call('PEXPIRE', index, ARGV[1], 'GT')
    end
    at = at + 2 + length
  end
end
return 1
