package backendtest

import (
	"errors"

	"github.com/dogpile-go/dogpile/backend"
)

func (t *trial) closes(side backend.Backend) {
	t.Helper()
	if err := side.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func closeRefusesEverything(t *trial) {
	t.set(t.a, user("ann"), "Ann")
	t.closes(t.a)
	guards := []backend.Guard{region}
	for name, call := range map[string]func() error{
		"Get":      func() error { _, err := t.a.Get(t.ctx, user("ann"), guards); return err },
		"GetMulti": func() error { _, _, err := t.a.GetMulti(t.ctx, users("ann"), guards); return err },
		"Acquire":  func() error { _, _, err := t.a.Acquire(t.ctx, users("ann"), guards); return err },
		"Wait":     func() error { return t.a.Wait(t.ctx, users("ann")) },
		"Set": func() error {
			_, err := t.a.Set(t.ctx, []backend.Item{{Key: user("ann"), Entry: t.entry("Ann")}}, guards)
			return err
		},
		"Delete": func() error { return t.a.Delete(t.ctx, users("ann")) },
		"Stamps": func() error { _, err := t.a.Stamps(t.ctx, guards); return err },
		"Renew":  func() error { return t.a.Renew(t.ctx, guards, false) },
	} {
		if err := call(); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("%s after Close = %v, want backend.ErrClosed", name, err)
		}
	}
	t.closes(t.a)
}

func closeEndsLeases(t *trial) {
	grants := t.grants(t.a, users("one", "two")...)
	t.closes(t.a)
	for _, grant := range grants {
		t.lost(grant.Lease)
		t.release(grant.Lease)
	}
}

func closeWakesWaiters(t *trial) {
	// The leases are the other side's, so that they outlive the Close of this one.
	t.grants(t.b, users("one", "two")...)
	var rivals []<-chan outcome
	for range 5 {
		rivals = append(rivals, t.start(t.a, user("one")), t.start(t.a, users("one", "two")...))
	}
	t.closes(t.a)
	for _, rival := range rivals {
		if o := <-rival; !errors.Is(o.err, backend.ErrClosed) {
			t.Fatalf("a waiter got %v when the backend was closed, want backend.ErrClosed", o.err)
		}
	}
}

func closeOfOneSide(t *trial) {
	if t.a == t.b {
		t.Skip("for two backends; see RunPair")
	}
	t.set(t.a, user("ann"), "Ann")
	stamps := t.current(t.a, region)
	t.acquire(t.a, user("of a"))
	mine := t.acquire(t.b, user("of b"))
	rival := t.start(t.b, user("of a"))
	t.closes(t.a)
	t.granted(rival)
	t.finds(t.b, user("ann"), "Ann")
	t.sameStamps("Stamps", t.current(t.b, region), stamps)
	t.notLost(mine)
	t.published(t.b, user("of b"), mine, "mine")
	t.finds(t.b, user("of b"), "mine")
}
