-- Brings the books of a bucket up to date for keys that were written or removed, and keeps its limits.
-- KEYS: entries by time of writing, by time of expiry, their sizes with the sum under ''.
-- ARGV: what the keys of entries begin with, most entries, most bytes, bytes of an entry that do not count, then keys.
-- Answers how many were evicted, and whether the bucket is still over a limit.
local written, expiring, sizes = KEYS[1], KEYS[2], KEYS[3]
local base, most_entries, most_bytes, head = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local slice = 1000

-- Redis may have evicted one of the three: books that do not agree start anew.
local there = redis.call('EXISTS', written, expiring, sizes)
if there ~= 0 and there ~= 3 then redis.call('UNLINK', written, expiring, sizes) end

local function forget(key)
  local size = redis.call('HGET', sizes, key)
  if size then
    redis.call('HINCRBY', sizes, '', -tonumber(size))
    redis.call('HDEL', sizes, key)
  end
  redis.call('ZREM', written, key)
  redis.call('ZREM', expiring, key)
end

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
for i = 5, #ARGV do
  local key = ARGV[i]
  local size = redis.call('STRLEN', base .. key)
  if size == 0 then
    forget(key)
  else
    size = size - head + #key
    local before = redis.call('HGET', sizes, key)
    redis.call('HSET', sizes, key, size)
    redis.call('HINCRBY', sizes, '', size - (before and tonumber(before) or 0))
    redis.call('ZADD', written, micros + i, key)
    redis.call('ZADD', expiring, redis.call('PEXPIRETIME', base .. key), key)
  end
end

local expired = redis.call('ZRANGEBYSCORE', expiring, '-inf', math.floor(micros / 1000), 'LIMIT', 0, slice)
for _, key in ipairs(expired) do forget(key) end

local function over()
  return redis.call('ZCARD', written) > most_entries or tonumber(redis.call('HGET', sizes, '') or 0) > most_bytes
end
local evicted = 0
-- What expired goes first: an entry is evicted only when nothing dead is left.
while #expired < slice and evicted < slice and over() do
  local oldest = redis.call('ZRANGE', written, 0, 0)[1]
  if not oldest then break end
  redis.call('UNLINK', base .. oldest)
  forget(oldest)
  evicted = evicted + 1
end

local last = redis.call('ZRANGE', expiring, -1, -1, 'WITHSCORES')[2]
if last then
  for _, book in ipairs(KEYS) do redis.call('PEXPIREAT', book, last) end
else
  redis.call('UNLINK', written, expiring, sizes)
end
return {evicted, over() and 1 or 0}
