package envelope_test

import (
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/envelope"
)

func TestIdentitiesTellValuesApart(t *testing.T) {
	nonced := header
	nonced.Nonce = 1
	seen := map[envelope.Identity]string{}
	add := func(what string, change func(h *envelope.Header) []byte) {
		t.Helper()
		for _, h := range []envelope.Header{header, nonced} {
			payload := change(&h)
			id := envelope.IdentityOf(seal(nil, h, key, payload))
			if other, known := seen[id]; known {
				t.Errorf("%s, nonce %d, has the identity of %s", what, h.Nonce, other)
			}
			seen[id] = what
		}
	}
	same := []byte("payload")
	add("the value itself", func(*envelope.Header) []byte { return same })
	add("a moment later", func(h *envelope.Header) []byte { h.Created = h.Created.Add(time.Nanosecond); return same })
	add("after an invalidation", func(h *envelope.Header) []byte { h.Stamps.Hard[0]++; return same })
	add("not found", func(h *envelope.Header) []byte { h.NotFound = true; return same })
	add("of another type", func(h *envelope.Header) []byte { h.Schema++; return same })
	add("by another codec", func(h *envelope.Header) []byte { h.Codec++; return same })
	add("longer", func(*envelope.Header) []byte { return []byte("payload!") })
	add("with a tag", func(h *envelope.Header) []byte { h.Tags = []backend.Tagged{{Tag: "#"}}; return same })
	for n := range uint32(3) {
		h := header
		h.Nonce = 2 + n
		add("with another nonce", func(to *envelope.Header) []byte { nonce := to.Nonce; *to = h; to.Nonce += nonce << 8; return same })
	}

	// Without a nonce all of the value counts.
	a, b := seal(nil, header, key, []byte("payload")), seal(nil, header, key, []byte("daolyap"))
	if envelope.IdentityOf(a) == envelope.IdentityOf(b) {
		t.Error("two values of one moment have one identity")
	}
}

func TestAValueThatHasExpiredIsTheSame(t *testing.T) {
	for nonce := range uint32(2) {
		h := header
		h.Nonce = nonce
		data := seal(nil, h, key, []byte("payload"))
		if envelope.IdentityOf(envelope.Expired(data)) != envelope.IdentityOf(data) {
			t.Errorf("nonce %d: it is another one when it has expired", nonce)
		}
	}
}
