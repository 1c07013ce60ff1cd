package fleet

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// A token is the name of the process, a sign that tells whether the process can be
// seen to be dead and what the lock is for, and what tells this lease from all others.
// All tokens have the same length, so that none is the beginning of another.
const (
	processSize = 16
	nonceSize   = 16
	tokenSize   = processSize + 1 + nonceSize

	visible   = '+' // the process is subscribed to its channel
	invisible = '-'

	visibleWriter   = 'W' // the same, and the lock is only for a write
	invisibleWriter = 'w'
)

// WriterSigns is a Lua pattern of what stands at [SignAt] in the token of a writer.
const WriterSigns = "[Ww]"

// SignAt is where the sign of a token stands, counted from one as Lua does.
const SignAt = processSize + 1

func newProcess() string { return strings.ToLower(rand.Text()[:processSize]) }

// newToken returns a token for a lock that is on the server node. m.mu is held.
func (m *Member) newToken(node string, writer bool) string {
	var nonce [nonceSize / 2]byte
	rand.Read(nonce[:]) // never fails; see crypto/rand
	seen := false
	if t := m.trackers[node]; t != nil {
		seen = t.visible
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
	token := make([]byte, 0, tokenSize)
	token = append(token, m.process...)
	token = append(token, sign)
	return string(hex.AppendEncode(token, nonce[:]))
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
