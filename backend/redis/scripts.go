package redis

import (
	"fmt"
	"strconv"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

// A script may be executed late, when whoever sent it has given up and gone on, and so
// that must not undo what has been done since. Those that take a lock are executed once
// at most, with a token of their own, and those that store something store it only under
// such a token, which a lock has once and never again. So what comes late finds the
// token gone. No clock has a part in it.
//
// A key of another type under the name of a lease or of stamps is overwritten: it is not
// ours, and in the way.
var (
	// acquireScript takes the lock KEYS[1] for the token ARGV[1], for ARGV[2]
	// milliseconds, and then reads the value KEYS[2] and, as stampsScript does with
	// ARGV[4] and what follows, the stamps that follow. It
	// answers whose the lock is if it is not granted. ARGV[3] is the token of the
	// attempt before this one, if its answer was lost. A lock without a TTL is not
	// one of ours, which all have one, and would never end.
	acquireScript = redisio.NewScript(freshStamps + currentStamps + `
local held = redis.pcall('GET', KEYS[1])
if held and not held.err and held ~= ARGV[3] then
	if #held == #ARGV[1] or redis.call('PTTL', KEYS[1]) >= 0 then
		return {0, held}
	end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local answer = {1, redis.pcall('GET', KEYS[2])}
if answer[2] and answer[2].err then
	answer = {2, false}
end
for i = 3, #KEYS do
	answer[i] = current(i, i - 2, ARGV[4], ARGV[5], ARGV[6], ARGV[7])
end
return answer`)

	// publishScript stores ARGV[2] under KEYS[2], for ARGV[3] milliseconds or, if
	// that is 0, for ever, if the lock KEYS[1] has the token ARGV[1], and frees
	// the lock. A value that is stored already, byte for byte, was stored by this
	// script, whose answer was lost. Without ARGV[2] it only frees the lock.
	publishScript = redisio.NewScript(`
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
	if ARGV[2] then` + put + `
	end
	redis.call('DEL', KEYS[1])
	return 1
end
if ARGV[2] and redis.pcall('GET', KEYS[2]) == ARGV[2] then
	return 1
end
return 0`)

	// seizeScript takes the lock KEYS[1] for a write, with the token ARGV[1] and for
	// ARGV[2] milliseconds, from whoever creates the value. Another writer is left
	// alone, and its token is used by both: whoever stores first ends it, and the
	// other is told. ARGV[3] is the token of the attempt before this one, as above.
	// It answers with the token and with the note KEYS[2] of the last write.
	seizeScript = redisio.NewScript(readNote + `
local held = redis.pcall('GET', KEYS[1])
if held and not held.err and held ~= ARGV[3] and #held == #ARGV[1] and
	string.find(held, '^` + fleet.WriterSigns + `', ` + strconv.Itoa(fleet.SignAt) + `) and redis.call('PTTL', KEYS[1]) >= 0 then
	return {held, note(KEYS[2])}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {ARGV[1], note(KEYS[2])}`)

	// storeScript is publishScript for a write. It leaves a note KEYS[3] for the other
	// writers, for ARGV[5] milliseconds: which token it has ended, and that of its own,
	// ARGV[4]. If the lock has not the token any more it answers with the note that
	// is there, or nothing.
	storeScript = redisio.NewScript(readNote + `
if redis.pcall('GET', KEYS[1]) == ARGV[1] then` + put + `
	redis.call('DEL', KEYS[1])
	redis.call('SET', KEYS[3], ARGV[1] .. ' ' .. ARGV[4], 'PX', ARGV[5])
	return 1
end
return note(KEYS[3])`)

	// deleteScript deletes values and their locks: KEYS are lock, value and note of each.
	// A writer whose lock it takes is told by the note, which it leaves for ARGV[1]
	// milliseconds, unless the server is full and takes none.
	deleteScript = redisio.NewScript(`
for i = 1, #KEYS, 3 do
	local held = redis.pcall('GET', KEYS[i])
	if held and not held.err and string.find(held, '^` + fleet.WriterSigns + `', ` + strconv.Itoa(fleet.SignAt) + `) then
		redis.pcall('SET', KEYS[i + 2], held .. ' ', 'PX', ARGV[1])
	end
	redis.call('UNLINK', KEYS[i], KEYS[i + 1])
end
return 1`)
)

// readNote is a function for scripts that returns a note, or an empty text. No two are
// equal, because no token is ended twice.
const readNote = `
local function note(key)
	local text = redis.pcall('GET', key)
	return text and not text.err and text or ''
end
`

// put stores ARGV[2] under KEYS[2], for ARGV[3] milliseconds or, if that is 0, for ever.
const put = `
	if ARGV[3] == '0' then
		redis.call('SET', KEYS[2], ARGV[2])
	else
		redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
	end`

// granted is the answer of acquireScript.
type granted struct {
	ok     bool
	holder string // the token of whoever holds the lock, if it is not ok
	left   int64  // the lock's PTTL then, and whether the token
	ours   bool   // is of this library; both of sharedAcquireScript
	entry  *backend.Entry
	stamps []any
}

func grantOf(call *redisio.Call) (g granted, err error) {
	value, err := call.Value()
	if err != nil {
		return g, err
	}
	answer, _ := value.([]any)
	if len(answer) < 2 {
		return g, fmt.Errorf("redis: the answer to a script is %v", value)
	}
	switch answer[0] {
	case int64(0):
		g.holder, _ = answer[1].(string)
		if len(answer) == 4 {
			g.left, _ = answer[2].(int64)
			g.ours = answer[3] == int64(1)
		}
		return g, nil
	case int64(2):
		g.entry = foreignEntry
	default:
		g.entry, err = entryOf(answer[1])
	}
	g.ok, g.stamps = true, answer[2:]
	return g, err
}
