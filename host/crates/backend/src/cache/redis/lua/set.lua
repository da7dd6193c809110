-- Writes an entry under a condition, with tags.
-- KEYS: the entry, then the index of each tag.
-- ARGV: stored bytes, lifetime in ms, 'always' | 'absent' | 16 bytes of a version.
-- Answers OK, or what is there if the condition does not hold.
local condition = ARGV[3]
if condition ~= 'always' then
  local there = redis.call('GET', KEYS[1])
  if condition == 'absent' then
    if there then return there end
  elseif not there or string.sub(there, 2, 17) ~= condition then
    return there
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if #KEYS > 1 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  for i = 2, #KEYS do
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
    redis.call('ZADD', KEYS[i], now + ARGV[2], KEYS[1])
    if redis.call('PEXPIRE', KEYS[i], ARGV[2], 'NX') == 0 then
      redis.call('PEXPIRE', KEYS[i], ARGV[2], 'GT')
    end
  end
end
return redis.status_reply('OK')
