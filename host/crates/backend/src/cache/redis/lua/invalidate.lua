-- Drops entries that carry a tag, a slice of each index in a run.
-- KEYS: an index per tag. ARGV: the tags in the same order, then how many to look at in each.
-- Answers the keys of what was dropped, and how many are left in the indexes.
-- The index is a hint: the entry itself says whether it carries the tag.
local slice = tonumber(ARGV[#KEYS + 1])
local dropped, left = {}, 0
for i, index in ipairs(KEYS) do
  for _, entry in ipairs(redis.call('ZRANGE', index, 0, slice - 1)) do
    local head = redis.call('GETRANGE', entry, 0, 4144)
    local at = 18
    for _ = 1, string.byte(head, 1) or 0 do
      local length = string.byte(head, at) * 256 + string.byte(head, at + 1)
      if string.sub(head, at + 2, at + 1 + length) == ARGV[i] then
        if redis.call('UNLINK', entry) == 1 then dropped[#dropped + 1] = entry end
        break
      end
      at = at + 2 + length
    end
  end
  redis.call('ZREMRANGEBYRANK', index, 0, slice - 1)
  left = left + redis.call('ZCARD', index)
end
return {dropped, left}
