package fleet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// Where other programs have locks, those without a TTL and those without a token are
// theirs, and waited for until they are free.
func TestForeignLocks(t *testing.T) {
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: prefix, TTL: 100 * time.Millisecond, Foreign: true})
	for name, take := range map[string][]any{
		"without a TTL":   {"SET", prefix + "lock", stranger},
		"empty":           {"SET", prefix + "lock", ""},
		"of another type": {"RPUSH", prefix + "lock", stranger},
	} {
		server.Do(t, take...)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // five leases
		if err := m.Wait(ctx, prefix+"lock"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: Wait = %v, want context.DeadlineExceeded", name, err)
		}
		cancel()
		if server.Do(t, "EXISTS", prefix+"lock") != int64(1) {
			t.Errorf("%s: the lock was removed", name)
		}
		woken := wait(t, m, prefix+"lock")
		server.Do(t, "DEL", prefix+"lock")
		select {
		case err := <-woken:
			if err != nil {
				t.Errorf("%s: Wait = %v when the lock is free", name, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: nobody is woken though the lock is free", name)
		}
	}
}

// Tokens are known by their form, and what others use is not taken for one.
func TestTokenPattern(t *testing.T) {
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	seen := join(t, server.Client(t), fleet.Config{Prefix: prefix})
	unseen := attend(t, server.Client(t), fleet.Config{Prefix: prefix + "other"})
	is := func(token string) bool {
		return server.Do(t, "EVAL", "return string.find(ARGV[1], ARGV[2])", 0, token, fleet.TokenPattern) != nil
	}
	for range 100 {
		for _, m := range []*fleet.Member{seen, unseen} {
			for _, ask := range []func(context.Context, string, string) *fleet.Lease{m.Ask, m.AskToWrite} {
				l := ask(t.Context(), "key", prefix+"lock")
				if !is(l.Token()) {
					t.Errorf("%q is not known as a token", l.Token())
				}
				l.Refused("")
			}
		}
	}
	token := "abcdefghijkl2345+0123456789abcdef"
	if !is(token) {
		t.Errorf("%q is not known as a token", token)
	}
	for _, other := range []string{
		"", "1", stranger, "b1f8d61ee54611f19dd502fc00000001", "b1f8d61e-e546-11f1-9dd5-02fc00000001",
		token + "0", "a" + token, token[:len(token)-1], token + "\n", "\n" + token, token[:16] + "x" + token[17:],
	} {
		if is(other) {
			t.Errorf("%q is taken for one of our tokens", other)
		}
	}
}
