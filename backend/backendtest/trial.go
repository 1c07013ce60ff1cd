package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/mangled"
	"github.com/dogpile-go/dogpile/lock"
)

// patience is how long an event may take that has to happen. Only a failing test
// ever waits that long; in a bubble it passes at once.
const patience = 20 * time.Second

// tooEarly is how many times Wait may return early: it is allowed, but whoever
// calls it in a loop must not be kept busy.
const tooEarly = 100_000

// trial is one subtest: two sides of one shared backend, which are the same in a
// suite started with Run.
type trial struct {
	*testing.T
	*suite
	a, b backend.Backend
	ctx  context.Context // ends with the suite's patience
}

func (s *suite) begin(t *testing.T) *trial {
	t.Helper()
	a, b := s.open(t)
	if a == nil || b == nil {
		t.Fatal("open returned no Backend")
	}
	one := a == b
	a = mangling(t, a)
	if b = mangling(t, b); one {
		b = a
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(func() {
		cancel()
		for _, side := range []backend.Backend{a, b} {
			if err := side.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	return &trial{T: t, suite: s, a: a, b: b, ctx: ctx}
}

// mangling returns b as a region uses it: with other keys if it cannot keep all.
func mangling(t *testing.T, b backend.Backend) backend.Backend {
	limited, ok := b.(backend.KeyMangler)
	if !ok || limited.KeyMangler() == nil {
		return b
	}
	other := func(key string) { t.Errorf("KeyMangler makes one key of %.60q and another key", key) }
	return mangled.New(b, other, limited.KeyMangler())
}

// settle lets every other goroutine of the bubble run until it sleeps. Outside a
// bubble nobody can know that, and what follows has to hold in any order.
func (t *trial) settle() {
	if t.bubble {
		synctest.Wait()
	}
}

// rounds repeats f, because outside a bubble only repetition meets the order of
// events in which a waiter sleeps already.
func (t *trial) rounds(f func()) {
	n := 10
	if t.bubble {
		n = 1
	}
	for range n {
		f()
	}
}

func (t *trial) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// user returns a key of the region that most tests use, and users several.
func user(name string) backend.Key { return backend.Key{Region: "users", Name: name} }

func users(names ...string) []backend.Key {
	keys := make([]backend.Key, len(names))
	for i, name := range names {
		keys[i] = user(name)
	}
	return keys
}

// entry returns an entry that says text, in the form that the backend keeps.
func (t *trial) entry(text string) *backend.Entry {
	if t.a.Bytes() {
		return &backend.Entry{Data: []byte("\x00" + text)}
	}
	return &backend.Entry{Value: &text, Created: time.Now(), Stamps: backend.Stamps{Hard: backend.NewStamp(), Soft: backend.NewStamp()}}
}

// says returns the text of an entry, and "nothing" for a miss.
func says(e *backend.Entry) string {
	switch {
	case e == nil:
		return "nothing"
	case len(e.Data) > 0:
		return string(bytes.TrimPrefix(e.Data, []byte{0}))
	}
	if text, ok := e.Value.(*string); ok && text != nil {
		return *text
	}
	return fmt.Sprintf("an entry without text: %+v", *e)
}

// set stores text under key, without lease and for ever.
func (t *trial) set(side backend.Backend, key backend.Key, text string) {
	t.Helper()
	t.must(t.put(side, backend.Item{Key: key, Entry: t.entry(text)}))
}

// put stores one item and returns its outcome.
func (t *trial) put(side backend.Backend, item backend.Item) error {
	t.Helper()
	item.Err = errors.New("the Err of an item that Set has not looked at")
	items := []backend.Item{item}
	if _, err := side.Set(t.ctx, items, nil); err != nil {
		t.Fatalf("Set: %v", err)
	}
	return items[0].Err
}

// publish stores text under key and lease and returns the outcome.
func (t *trial) publish(side backend.Backend, key backend.Key, lease lock.Lease, text string) error {
	t.Helper()
	return t.put(side, backend.Item{Key: key, Entry: t.entry(text), Lease: lease})
}

// published publishes and expects it to succeed, and refused to be refused.
func (t *trial) published(side backend.Backend, key backend.Key, lease lock.Lease, text string) {
	t.Helper()
	if err := t.publish(side, key, lease, text); err != nil {
		t.Fatalf("publishing %s under its lease: Err = %v, want nil", brief(key), err)
	}
}

func (t *trial) refused(side backend.Backend, key backend.Key, lease lock.Lease) {
	t.Helper()
	if err := t.publish(side, key, lease, "what was refused"); !errors.Is(err, backend.ErrLeaseLost) {
		t.Fatalf("publishing %s under a lease that is not held: Err = %v, want backend.ErrLeaseLost", brief(key), err)
	}
}

// holds checks what both sides find under key: the text, or "nothing".
func (t *trial) holds(key backend.Key, text string) {
	t.Helper()
	for _, side := range []backend.Backend{t.a, t.b} {
		t.finds(side, key, text)
	}
}

func (t *trial) finds(side backend.Backend, key backend.Key, text string) {
	t.Helper()
	found, err := side.Get(t.ctx, key, nil)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if got := says(found.Entry); got != t.kept(text) {
		t.Fatalf("%s holds %.60q, want %.60q", brief(key), got, t.kept(text))
	}
}

// kept is what is found where text was stored.
func (t *trial) kept(text string) string {
	if t.storesNothing {
		return says(nil)
	}
	return text
}

func (t *trial) delete(side backend.Backend, keys ...backend.Key) {
	t.Helper()
	if err := side.Delete(t.ctx, keys); err != nil {
		t.Fatalf("Delete: %v", err)
	}
}

// grants is Acquire, with the shape of its answer checked.
func (t *trial) grants(side backend.Backend, keys ...backend.Key) []backend.Grant {
	t.Helper()
	grants, _, err := side.Acquire(t.ctx, keys, nil)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	if len(grants) != len(keys) {
		t.Fatalf("Acquire of %d keys returned %d grants", len(keys), len(grants))
	}
	return grants
}

// acquire takes the lease of a key that nobody holds.
func (t *trial) acquire(side backend.Backend, key backend.Key) lock.Lease {
	t.Helper()
	lease := t.grants(side, key)[0].Lease
	if lease == nil {
		t.Fatalf("Acquire of %s granted no lease, but nobody holds it", brief(key))
	}
	return lease
}

// isHeld checks that the lease of key is held, whoever asks.
func (t *trial) isHeld(key backend.Key) {
	t.Helper()
	for _, side := range []backend.Backend{t.a, t.b} {
		grant := t.grants(side, key)[0]
		if grant.Lease != nil {
			t.Fatalf("Acquire of %s granted a lease, but it is held", brief(key))
		}
		if grant.Entry != nil {
			t.Fatalf("Acquire of %s returned an entry without a lease", brief(key))
		}
	}
}

func (t *trial) release(lease lock.Lease) {
	t.Helper()
	if err := lease.Release(t.ctx); err != nil {
		t.Fatalf("Release: %v", err)
	}
}

// lost waits until the holder of lease has been told of its loss.
func (t *trial) lost(lease lock.Lease) {
	t.Helper()
	select {
	case <-lease.Lost():
	case <-t.ctx.Done():
		t.Fatal("the holder was not told that its lease is lost")
	}
}

func (t *trial) notLost(lease lock.Lease) {
	t.Helper()
	t.settle()
	select {
	case <-lease.Lost():
		t.Fatal("Lost is closed, but the lease was not lost")
	default:
	}
}

// obtain is what a rival does: it tries all of keys and waits until it is granted
// one. Wait may return early, so it is called as often as it takes.
func (t *trial) obtain(side backend.Backend, keys ...backend.Key) (got int, grant backend.Grant, err error) {
	for range tooEarly {
		grants, _, err := side.Acquire(t.ctx, keys, nil)
		if err != nil {
			return 0, backend.Grant{}, err
		}
		got = -1
		for i, g := range grants {
			switch {
			case g.Lease == nil:
			case got < 0:
				got, grant = i, g
			default:
				if err := g.Lease.Release(t.ctx); err != nil {
					return 0, backend.Grant{}, err
				}
			}
		}
		if got >= 0 {
			return got, grant, nil
		}
		if err := side.Wait(t.ctx, keys); err != nil {
			return 0, backend.Grant{}, err
		}
	}
	return 0, backend.Grant{}, errors.New("again and again Wait returns while the lease is held")
}

// outcome is what a rival came back with.
type outcome struct {
	got   int
	grant backend.Grant
	err   error
	after time.Duration // virtual time that passed meanwhile, in a bubble
}

// start runs obtain in a goroutine that, in a bubble, sleeps already when start
// returns.
func (t *trial) start(side backend.Backend, keys ...backend.Key) <-chan outcome {
	began := time.Now()
	done := make(chan outcome, 1)
	go func() {
		got, grant, err := t.obtain(side, keys...)
		done <- outcome{got, grant, err, time.Since(began)}
	}()
	t.settle()
	return done
}

// granted waits for a rival that start has sent off.
func (t *trial) granted(rival <-chan outcome) outcome {
	t.Helper()
	o := <-rival
	if o.err != nil {
		t.Fatalf("a waiter got the error %v, want the lease that became free", o.err)
	}
	if t.bubble && o.after != 0 {
		t.Fatalf("a waiter woke %v after the lease was free, want at once", o.after)
	}
	return o
}

// brief renders a key for a message.
func brief(key backend.Key) string {
	if len(key.Name) > 40 {
		return fmt.Sprintf("%s:%.20q… (%d bytes)", key.Region, key.Name, len(key.Name))
	}
	return fmt.Sprintf("%s:%q", key.Region, key.Name)
}
