package fleet

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"
)

// A token is the name of the process, a sign that tells whether the process can be
// seen to be dead and what the lock is for, a digit that tells how long others wait
// for a process they find dead, and what tells this lease from all others.
// All tokens have the same length, so that none is the beginning of another.
const (
	processSize  = 16
	patienceSize = 1
	nonceSize    = 15
	tokenSize    = processSize + 1 + patienceSize + nonceSize

	visible   = '+' // the process is subscribed to its channel
	invisible = '-'

	visibleWriter   = 'W' // the same, and the lock is only for a write
	invisibleWriter = 'w'
)

// WriterSigns is a Lua pattern of what stands at [SignAt] in the token of a writer.
const WriterSigns = "[Ww]"

// SignAt is where the sign of a token stands, counted from one as Lua does.
const SignAt = processSize + 1

// TokenPattern is a Lua pattern of all tokens, and of nothing that other programs use: it
// tells the locks of this library's processes from theirs.
var TokenPattern = "^" + strings.Repeat("[a-z2-7]", processSize) + "[-+Ww]%d" + strings.Repeat("[0-9a-f]", nonceSize) + "$"

func newProcess() string { return strings.ToLower(rand.Text()[:processSize]) }

// newToken returns a token for a lock that is on the server node. m.mu is held.
func (m *Member) newToken(node string, writer bool) string {
	var nonce [(nonceSize + 1) / 2]byte
	rand.Read(nonce[:]) // never fails; see crypto/rand
	seen, patience := false, byte(0)
	if t := m.trackers[node]; t != nil {
		seen, patience = t.visible, t.patience
	}
	var sign byte
	switch {
	case writer && seen:
		sign = visibleWriter
	case writer:
		sign = invisibleWriter
	case seen:
		sign = visible
	default:
		sign = invisible
	}
	token := make([]byte, 0, tokenSize+1)
	token = append(token, m.process...)
	token = append(token, sign, '0'+patience)
	return string(hex.AppendEncode(token, nonce[:])[:tokenSize])
}

// patienceOf returns how long the holder that a token names is waited for when it was
// found dead: the shortest time if the token does not tell.
func patienceOf(token string) time.Duration {
	if len(token) == tokenSize {
		if digit := token[processSize+1] - '0'; int(digit) < len(deathChecks) {
			return deathChecks[digit]
		}
	}
	return deathChecks[0]
}

// holderOf returns the process that a token names, or "" if it cannot be seen
// whether that is alive, or if it is not one of our tokens.
func holderOf(token string) string {
	if len(token) != tokenSize {
		return ""
	}
	switch token[processSize] {
	case visible, visibleWriter:
		return token[:processSize]
	}
	return ""
}
