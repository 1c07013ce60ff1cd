package redis

import "github.com/dogpile-go/dogpile/internal/redisio"

// Scripts about stamps may be executed late as well. One that replaces stamps then only
// invalidates, one that creates them creates new ones, and one that prolongs them
// prolongs those that are there: none of them writes a stamp that there has been before.
//
// A creator begins when the stamps of its guards have been answered. Those that are created
// after an invalidation was executed are of a creator that began after it, so an
// invalidation need not create what is absent: there is nothing to be told apart from.
// Until it is executed no stamps are anybody's, and afterwards it is over.
var (
	// stampsScript returns the stamps KEYS, which become new ones, made of the random
	// ARGV[1], where they are absent or incomplete; without ARGV[1] those are left as
	// they are. ARGV[2] has a letter for each: "t" for those of a tag. Of these,
	// those that have less than ARGV[3] milliseconds left then have ARGV[4], and new
	// ones have ARGV[4] as well. If that is 0, they are kept for ever.
	stampsScript = redisio.NewScript(freshStamps + currentStamps + `
local answer = {}
for i = 1, #KEYS do
	answer[i] = current(i, i, ARGV[1], ARGV[2], ARGV[3], ARGV[4])
end
return answer`)

	// renewScript replaces one of the stamps of each of KEYS with a new one, made of the
	// random ARGV[1]: which, says ARGV[2]. ARGV[3] is ARGV[2] of stampsScript. Those of a
	// tag that are absent stay so: no value carries them. Those of the region become new.
	renewScript = redisio.NewScript(freshStamps + `
-- A server that is full takes no new stamps, but old ones can be taken away. A soft renewal
-- has to leave the hard stamp, and so fails.
local function put(key, ...)
	local done = redis.pcall('SET', key, ...)
	if done.err then
		if ARGV[2] ~= 'hard' or not string.find(done.err, 'OOM', 1, true) then
			error(done)
		end
		redis.call('DEL', key)
	end
end
for i, key in ipairs(KEYS) do
	local tag = string.byte(ARGV[3], i) == 116
	local stamps = redis.pcall('GET', key)
	if not stamps or stamps.err or #stamps ~= 24 then
		if not tag then
			put(key, fresh(ARGV[1], 'hard', i) .. fresh(ARGV[1], 'soft', i))
		end
	else
		if ARGV[2] == 'hard' then
			stamps = fresh(ARGV[1], 'hard', i) .. string.sub(stamps, 13)
		else
			stamps = string.sub(stamps, 1, 12) .. fresh(ARGV[1], 'soft', i)
		end
		if tag then
			put(key, stamps, 'KEEPTTL')
		else
			put(key, stamps)
		end
	end
end
return 1`)
)

// freshStamps is a function for scripts that makes a stamp of something random and the
// moment. So a script that is executed twice makes two stamps: one that came
// again late, and wrote the same stamp as the first time, would revive what has been
// invalidated since.
const freshStamps = `
local time
local function fresh(random, which, i)
	time = time or redis.call('TIME')
	local hex = redis.sha1hex(random .. which .. i .. ' ' .. time[1] .. '.' .. time[2])
	return (string.gsub(string.sub(hex, 1, 24), '..', function (byte)
		return string.char(tonumber(byte, 16))
	end))
end
`

// currentStamps is a function for scripts that returns the stamps KEYS[at], which are
// number i of those asked for. The rest is ARGV of stampsScript. Stamps are kept for ever by
// being written again, because PERSIST would be one more command that a user has to be
// allowed.
const currentStamps = `
local none = string.rep('\0', 12)
local function current(at, i, random, kinds, enough, ttl)
	local key, tag = KEYS[at], string.byte(kinds, i) == 116
	local stamps = redis.pcall('GET', key)
	if not stamps or stamps.err or #stamps ~= 24 or string.sub(stamps, 1, 12) == none or string.sub(stamps, 13) == none then
		if random == '' then
			return false
		end
		stamps = fresh(random, 'hard', i) .. fresh(random, 'soft', i)
		if tag and ttl ~= '0' then
			redis.call('SET', key, stamps, 'PX', ttl)
		else
			redis.call('SET', key, stamps)
		end
	elseif tag then
		local left = redis.call('PTTL', key)
		if left >= 0 and ttl == '0' then
			redis.call('SET', key, stamps)
		elseif left >= 0 and left < tonumber(enough) then
			redis.call('PEXPIRE', key, ttl)
		end
	end
	return stamps
end
`
