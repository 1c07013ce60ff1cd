package redis

import (
	"strconv"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

// The scripts of a view do what those in scripts.go do, with two differences. Locks of other
// programs, which do not have tokens like ours, are theirs, with a TTL or without one. And
// there are no notes, because every key is seen by the other programs: a write that has
// lost its lock finds out by the value whether another one came after it, or tries again.
var (
	// sharedAcquireScript takes the lock KEYS[1] for the token ARGV[1], for ARGV[2]
	// milliseconds, if nobody has it, and then reads the value KEYS[2]. ARGV[3] is the
	// token of the attempt before this one, if its answer was lost. ARGV[4] is the token
	// of somebody who is taken for dead, if any: the lock is taken away if it still has
	// that token and would never expire. If it is not granted it answers whose the lock
	// is and how many milliseconds it has left.
	sharedAcquireScript = redisio.NewScript(holderOf + `
local held, whole = holder(KEYS[1])
if held and (held == '' or held ~= ARGV[3]) then
	local left = redis.call('PTTL', KEYS[1])
	if held == '' or held ~= ARGV[4] or left ~= -1 then
		return {0, held, left, ours(whole) and 1 or 0}
	end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local value = redis.pcall('GET', KEYS[2])
if value and value.err then
	return {2, false}
end
return {1, value}`)

	// sharedSeizeScript takes the lock KEYS[1] for a write, with the token ARGV[1] and
	// for ARGV[2] milliseconds, from whoever of us creates the value. ARGV[3] is the
	// token of the attempt before this one, as above. Another writer and another program
	// are left alone, and the value is stored under their token. It answers with the token,
	// with how the value KEYS[2] begins, and whether the token is another program's.
	sharedSeizeScript = redisio.NewScript(holderOf + beginning + `
local held, whole = holder(KEYS[1])
if held and (held == '' or held ~= ARGV[3]) then
	if not ours(whole) then
		return {held, head(KEYS[2]), 1}
	end
	if writes(whole) and redis.call('PTTL', KEYS[1]) >= 0 then
		return {held, head(KEYS[2]), 0}
	end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {ARGV[1], head(KEYS[2]), 0}`)

	// sharedStoreScript stores ARGV[2] under KEYS[2], for ARGV[3] milliseconds or, if
	// that is 0, for ever, if the lock KEYS[1] has the token ARGV[1], and frees it if
	// ARGV[4] is 0: it is not another program's. If the lock has not the token any more,
	// it answers with how the value begins, unless that is the same already.
	sharedStoreScript = redisio.NewScript(holderOf + beginning + `
if holder(KEYS[1]) == ARGV[1] then` + put + `
	if ARGV[4] == '0' then
		redis.call('DEL', KEYS[1])
	end
	return 1
end
if redis.pcall('GET', KEYS[2]) == ARGV[2] then
	return 1
end
return head(KEYS[2])`)

	// sharedVoidScript frees the lock KEYS[1] if it is that of whoever of us creates the
	// value. A writer would only begin again.
	sharedVoidScript = redisio.NewScript(holderOf + `
local _, whole = holder(KEYS[1])
if ours(whole) and not writes(whole) then
	redis.call('DEL', KEYS[1])
end
return 1`)

	// sharedDeleteScript deletes values, and their locks if they are ours: KEYS are lock
	// and value of each.
	sharedDeleteScript = redisio.NewScript(holderOf + `
for i = 1, #KEYS, 2 do
	local _, whole = holder(KEYS[i])
	if ours(whole) then
		redis.call('UNLINK', KEYS[i], KEYS[i + 1])
	else
		redis.call('UNLINK', KEYS[i + 1])
	end
end
return 1`)
)

// holderOf is functions for scripts. holder returns the token of a lock, or nothing if it is
// free: one of any length as a short text, and an empty one for a lock that has none, because it is
// empty or of another type. It also returns the whole token. The others tell whether a token
// is of this library, and whether it is one of a writer.
var holderOf = `
local function holder(key)
	local held = redis.pcall('GET', key)
	if not held then
		return nil, ''
	elseif held.err then
		return '', ''
	elseif #held > 64 then
		return redis.sha1hex(held), held
	end
	return held, held
end
local function ours(token) return string.find(token, '` + fleet.TokenPattern + `') end
local function writes(token) return string.find(token, '^` + fleet.WriterSigns + `', ` + strconv.Itoa(fleet.SignAt) + `) end
`

// beginning is a function for scripts that returns how a value begins. What libraries store
// begins with when it was created, so two that begin alike are most often the same.
const beginning = `
local function head(key)
	local text = redis.pcall('GETRANGE', key, 0, 63)
	return type(text) == 'string' and text or ''
end
`
