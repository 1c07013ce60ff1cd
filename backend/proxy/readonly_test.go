package proxy_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/proxy"
	"github.com/dogpile-go/dogpile/region"
)

// staging returns the region of a service that reads what another one has stored.
func staging(t *testing.T, store backend.Backend) (r *region.Region, s *spy, unstored *unstoredEvents) {
	t.Helper()
	s, unstored = &spy{}, &unstoredEvents{}
	r = with(t, region.Config{Backend: store, Wrap: []wrapper{proxy.ReadOnly(), spying(s)}, Observer: unstored})
	return r, s, unstored
}

type unstoredEvents struct {
	mu   sync.Mutex
	errs []error
}

func (u *unstoredEvents) ObserveUnstored(e region.UnstoredEvent) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.errs = append(u.errs, e.Err)
}

func (s *spy) onlyReads(t *testing.T) {
	t.Helper()
	if ops, _ := s.seen(); slices.ContainsFunc(ops, func(op string) bool { return op != "Get" && op != "GetMulti" }) {
		t.Errorf("the backend has seen %q, want reads alone", ops)
	}
}

func TestReadOnlyReads(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		production := over(t, store)
		r, s, _ := staging(t, store)
		tag := region.WithTags("t")
		must(t, production, "k", &creator{}, "v1", tag)
		must(t, production, "l", &creator{}, "v1")
		never := &creator{}
		must(t, r, "k", never, "v1", tag)
		found, err := region.GetMulti[string](t.Context(), r, []string{"k", "l", "m"})
		if err != nil || len(found) != 2 {
			t.Errorf("GetMulti = %v, %v; want k and l", found, err)
		}
		never.want(t, 0)

		// What production invalidates is not used here.
		if err := production.InvalidateTags(t.Context(), "t"); err != nil {
			t.Error(err)
		}
		holds(t, r, "k", "")
		holds(t, r, "l", "v1")
		if err := production.Delete(t.Context(), "l"); err != nil {
			t.Error(err)
		}
		holds(t, r, "l", "")
		s.onlyReads(t)
	})
}

func TestReadOnlyCreatesAndDoesNotStore(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		production := over(t, store)
		r, s, unstored := staging(t, store)
		c := &creator{}
		must(t, r, "k", c, "v1", region.WithTags("t"))
		must(t, r, "k", c, "v2", region.WithTags("t"))
		values, err := region.GetOrCreateMulti(t.Context(), r, []string{"l", "m"}, func(_ context.Context, keys []string) (map[string]string, error) {
			return map[string]string{"l": "L", "m": "M"}, nil
		})
		if err != nil || values["l"] != "L" || values["m"] != "M" {
			t.Errorf("GetOrCreateMulti = %v, %v", values, err)
		}
		for _, key := range []string{"k", "l", "m"} {
			holds(t, production, key, "")
		}
		if len(unstored.errs) != 4 || !errors.Is(unstored.errs[0], proxy.ErrReadOnly) {
			t.Errorf("the observer was told %v, want proxy.ErrReadOnly for each of 4 values", unstored.errs)
		}

		// Nobody is kept waiting, neither there nor here.
		blocked, theirs := blocking(), blocking()
		mine := call(t, r, "k", blocked)
		isFree(t, store, "k", true)
		other := call(t, production, "k", theirs)
		theirs.want(t, 1)
		close(theirs.gate)
		got(t, other, "v1")
		close(blocked.gate)
		got(t, mine, "v1")
		must(t, r, "k", c, "v1") // which production has stored
		s.onlyReads(t)
	})
}

// A value that nobody holds a lease for in the backend may have been deleted there while
// it was created, and those who come after that must not get it.
func TestReadOnlySharesWithThoseWhoCameBefore(t *testing.T) {
	for name, opts := range map[string][]region.CallOption{
		"would be stored": nil,
		"would not":       {region.CacheIf(func(string) bool { return false })},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, store backend.Backend) {
				production := over(t, store)
				r, s, _ := staging(t, store)
				c := blocking()
				early := call(t, r, "k", c, opts...)
				if err := production.Delete(t.Context(), "k"); err != nil {
					t.Fatal(err)
				}
				late := []<-chan string{call(t, r, "k", c, opts...), call(t, r, "k", c, opts...)}
				c.want(t, 1)
				c.gate <- struct{}{}
				got(t, early, "v1")
				synctest.Wait()
				c.want(t, 2) // one for both
				close(c.gate)
				for _, l := range late {
					if v := <-l; v == "v1" {
						t.Error("a caller who came after a Delete got what was begun before it")
					}
				}
				s.onlyReads(t)
			})
		})
	}
}

func TestReadOnlyRefuses(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		ctx := t.Context()
		production := over(t, store)
		must(t, production, "k", &creator{}, "v1", region.WithTags("t"))
		for name, write := range map[string]func(r *region.Region) error{
			"Set":            func(r *region.Region) error { return region.Set(ctx, r, "k", "x", region.WithTags("t")) },
			"Set, absent":    func(r *region.Region) error { return region.Set(ctx, r, "absent", "x") },
			"Delete":         func(r *region.Region) error { return r.Delete(ctx, "k") },
			"Expire":         func(r *region.Region) error { return r.Expire(ctx, "k") },
			"Expire, absent": func(r *region.Region) error { return r.Expire(ctx, "absent") },
			"Hard":           func(r *region.Region) error { return r.Invalidate(ctx, region.Hard) },
			"Soft":           func(r *region.Region) error { return r.Invalidate(ctx, region.Soft) },
			"InvalidateTags": func(r *region.Region) error { return r.InvalidateTags(ctx, "t") },
		} {
			r, s, _ := staging(t, store)
			if err := write(r); !errors.Is(err, proxy.ErrReadOnly) {
				t.Errorf("%s = %v, want proxy.ErrReadOnly", name, err)
			} else if owed := !strings.HasPrefix(name, "Set"); errors.Is(err, region.ErrPending) != owed {
				t.Errorf("%s = %v; ErrPending wanted: %v", name, err, owed)
			}
			switch name {
			case "Delete", "Hard", "InvalidateTags": // this process has said that it is invalid
				must(t, r, "k", &creator{}, "v1")
				holds(t, r, "k", "")
				if err := r.Close(); !errors.Is(err, region.ErrPending) || !errors.Is(err, proxy.ErrReadOnly) {
					t.Errorf("Close after %s = %v, want region.ErrPending and proxy.ErrReadOnly", name, err)
				}
			}
			s.onlyReads(t)
			holds(t, production, "k", "v1")
			isFree(t, store, "absent", true)
		}
	})
}

func TestReadOnlyServesWhatIsStale(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		if err := region.Set(t.Context(), over(t, store), "k", "old"); err != nil {
			t.Fatal(err)
		}
		r, s, _ := staging(t, store)
		time.Sleep(2 * time.Minute)
		c := blocking()
		winner := call(t, r, "k", c)
		must(t, r, "k", c, "old")
		c.want(t, 1)
		c.gate <- struct{}{}
		got(t, winner, "v1")
		s.onlyReads(t)
	})
}

// unstamped is a backend that has no stamps yet, and fails when it is told to.
type unstamped struct {
	backend.Backend
	fail func() error
	few  bool
}

func (u *unstamped) GetMulti(_ context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	if u.fail != nil {
		return nil, nil, u.fail()
	}
	if u.few {
		return nil, nil, nil
	}
	return make([]*backend.Entry, len(keys)), make([]backend.Stamps, len(guards)), nil
}

// Absent stamps must not be taken for equal: the tags of absent stamps may have been
// invalidated in between.
func TestReadOnlyInventsNoProof(t *testing.T) {
	u := &unstamped{Backend: newStore(t, memory.Config{})}
	b := proxy.ReadOnly()(u)
	defer b.Close()
	seen := map[backend.Stamp]bool{{}: true}
	look := func(stamps []backend.Stamps, err error) {
		t.Helper()
		if err != nil || len(stamps) != 2 {
			t.Fatalf("%d stamps, %v; want 2", len(stamps), err)
		}
		for _, s := range stamps {
			if seen[s.Hard] || seen[s.Soft] || s.Hard == s.Soft {
				t.Errorf("%x was there before, or is zero", s)
			}
			seen[s.Hard], seen[s.Soft] = true, true
		}
	}
	guards := []backend.Guard{users, {Region: "users", Tag: "t"}}
	for _, name := range []string{"ann", "bob"} {
		look(b.Stamps(t.Context(), guards))
		_, stamps, err := b.Acquire(t.Context(), []backend.Key{user(name)}, guards)
		look(stamps, err)
	}
}

func TestReadOnlyKeepsNoLeaseWhenItFails(t *testing.T) {
	u := &unstamped{Backend: newStore(t, memory.Config{})}
	b := proxy.ReadOnly()(u)
	defer b.Close()
	acquire := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = p.(error)
			}
		}()
		_, _, err = b.Acquire(t.Context(), []backend.Key{user("ann"), user("bob")}, []backend.Guard{users})
		return err
	}
	down := errors.New("down")
	for name, broken := range map[string]unstamped{
		"an error":       {fail: func() error { return down }},
		"a panic":        {fail: func() error { panic(down) }},
		"a short answer": {few: true},
	} {
		u.fail, u.few = broken.fail, broken.few
		if err := acquire(); err == nil || !broken.few && !errors.Is(err, down) {
			t.Errorf("Acquire over %s = %v", name, err)
		}
		u.fail, u.few = nil, false
		isFree(t, b, "ann", true)
		isFree(t, b, "bob", true)
	}
}

func TestReadOnlyHasLeasesOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, memory.Config{})
		b := proxy.ReadOnly()(store)
		put(t, store, "ann", "Ann")
		grants, _, err := b.Acquire(t.Context(), []backend.Key{user("ann"), user("bob")}, []backend.Guard{users})
		if err != nil || grants[0].Lease == nil || grants[1].Lease == nil || grants[0].Entry == nil || grants[1].Entry != nil {
			t.Fatalf("Acquire = %+v, %v; want two leases, and an entry for the first", grants, err)
		}
		isFree(t, b, "ann", false)
		isFree(t, store, "ann", true)
		waits := func() <-chan error {
			done := make(chan error, 1)
			go func() { done <- b.Wait(t.Context(), []backend.Key{user("ann")}) }()
			synctest.Wait()
			return done
		}
		one := waits()
		items := []backend.Item{{Key: user("ann"), Lease: grants[0].Lease}, {Key: user("bob"), Entry: entry(b, "Bob"), Lease: grants[1].Lease}, {Key: user("cid")}}
		stamps, err := b.Set(t.Context(), items, []backend.Guard{users})
		now, _ := store.Stamps(t.Context(), []backend.Guard{users})
		if err != nil || !slices.Equal(stamps, now) {
			t.Errorf("Set = %v, %v; want the stamps as they are", stamps, err)
		}
		for i := range items {
			if !errors.Is(items[i].Err, proxy.ErrReadOnly) {
				t.Errorf("item %d: Err = %v, want proxy.ErrReadOnly", i, items[i].Err)
			}
		}
		isFree(t, b, "bob", false) // as after every item that was not stored
		select {
		case err := <-one:
			t.Errorf("Wait = %v while the lease is held", err)
		default:
		}
		grants[0].Lease.Release(t.Context())
		if err := <-one; err != nil {
			t.Errorf("Wait = %v", err)
		}
		if err := errors.Join(b.Delete(t.Context(), nil), b.Renew(t.Context(), nil, false)); err != nil {
			t.Errorf("Delete and Renew of nothing = %v", err)
		}

		if grants, _, err = b.Acquire(t.Context(), []backend.Key{user("ann")}, []backend.Guard{users}); err != nil {
			t.Fatal(err)
		}
		two := waits()
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if err := <-two; !errors.Is(err, backend.ErrClosed) {
			t.Errorf("Wait = %v when the backend was closed, want backend.ErrClosed", err)
		}
		<-grants[0].Lease.Lost()
		for op, call := range operations(t.Context(), b) {
			if err := call(); !errors.Is(err, backend.ErrClosed) {
				t.Errorf("%s after Close = %v, want backend.ErrClosed", op, err)
			}
		}
		if err := errors.Join(b.Delete(t.Context(), nil), store.Delete(t.Context(), nil)); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("Delete of nothing after Close = %v, want backend.ErrClosed", err)
		}
	})
}
