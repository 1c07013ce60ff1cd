package fleet

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// A token is the name of the process, a sign that tells whether the process can be
// seen to be dead, and what tells this lease from all others. All tokens have the
// same length, so that none is the beginning of another.
const (
	processSize = 16
	nonceSize   = 16
	tokenSize   = processSize + 1 + nonceSize

	visible   = '+' // the process is subscribed to its channel
	invisible = '-'
)

func newProcess() string { return strings.ToLower(rand.Text()[:processSize]) }

// newToken returns a token for a lock that is on the server node. m.mu is held.
func (m *Member) newToken(node string) string {
	var nonce [nonceSize / 2]byte
	rand.Read(nonce[:]) // never fails; see crypto/rand
	sign := byte(invisible)
	if t := m.trackers[node]; t != nil && t.visible {
		sign = visible
	}
	token := make([]byte, 0, tokenSize)
	token = append(token, m.process...)
	token = append(token, sign)
	return string(hex.AppendEncode(token, nonce[:]))
}

// holderOf returns the process that a token names, or "" if it cannot be seen
// whether that is alive, or if it is not one of our tokens.
func holderOf(token string) string {
	if len(token) != tokenSize || token[processSize] != visible {
		return ""
	}
	return token[:processSize]
}
