package proxy_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/proxy"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/region"
)

// fates runs n reads and returns, letter by letter, what became of them: done, error, lost.
func fates(t *testing.T, b backend.Backend, n int, between func()) string {
	t.Helper()
	var fates strings.Builder
	for range n {
		_, err := b.Get(t.Context(), user("ann"), nil)
		switch {
		case err == nil:
			fates.WriteByte('d')
		case !errors.Is(err, proxy.ErrChaos):
			t.Fatal(err)
		case strings.Contains(err.Error(), "not carried out"):
			fates.WriteByte('e')
		default:
			fates.WriteByte('l')
		}
		between()
	}
	return fates.String()
}

func TestChaosIsTheSameInEveryRun(t *testing.T) {
	store := newStore(t, memory.Config{})
	const n = 10_000
	cfg := proxy.ChaosConfig{Seed: 7, ErrorRate: 0.2, LostRate: 0.1}
	nothing := func() {}
	once := fates(t, proxy.Chaos(cfg)(store), n, nothing)
	for letter, want := range map[string]int{"d": 7000, "e": 2000, "l": 1000} {
		if got := strings.Count(once, letter); got < want-200 || got > want+200 {
			t.Errorf("%d of %d operations met %q, want about %d", got, n, letter, want)
		}
	}
	b := proxy.Chaos(cfg)(store)
	again := fates(t, b, n, func() {
		b.Set(t.Context(), nil, nil)
		b.Stamps(t.Context(), nil)
	})
	if again != once {
		t.Error("with the same seed, and other operations in between, others were hit")
	}
	cfg.Seed = 8
	if other := fates(t, proxy.Chaos(cfg)(store), n, nothing); other == once {
		t.Error("with another seed the same were hit")
	}
	cfg.Seed = 7
	var sets strings.Builder
	for b, i := proxy.Chaos(cfg)(store), 0; i < n; i++ {
		if _, err := b.Set(t.Context(), nil, nil); err == nil {
			sets.WriteByte('d')
		} else {
			sets.WriteByte('e')
		}
	}
	if sets.String() == strings.ReplaceAll(once, "l", "e") {
		t.Error("Set meets the fates of Get")
	}
}

func TestChaosTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, memory.Config{})
		took := func(b backend.Backend, op string) time.Duration {
			began := time.Now()
			if err := operations(t.Context(), b)[op](); err != nil {
				t.Errorf("%s: %v", op, err)
			}
			return time.Since(began)
		}
		exact := proxy.Chaos(proxy.ChaosConfig{Latency: time.Second})(store)
		jitter := proxy.Chaos(proxy.ChaosConfig{Latency: time.Second, Jitter: time.Second})(store)
		for op := range operations(t.Context(), store) {
			if d := took(exact, op); d != time.Second {
				t.Errorf("%s took %v, want one second", op, d)
			}
			seen := map[time.Duration]bool{}
			for range 20 {
				d := took(jitter, op)
				if seen[d] = true; d < time.Second || d >= 2*time.Second {
					t.Errorf("%s took %v, want one to two seconds", op, d)
				}
			}
			if len(seen) < 20 {
				t.Errorf("%s took %d different times of 20", op, len(seen))
			}
		}
		began := time.Now()
		if exact.Bytes(); exact.Close() != nil || time.Since(began) != 0 {
			t.Error("Bytes and Close are to be left alone")
		}
	})
}

func TestChaosObeysContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &spy{Backend: newStore(t, memory.Config{})}
		b := proxy.Chaos(proxy.ChaosConfig{Latency: time.Hour, LostRate: 1})(s)
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		began := time.Now()
		for op, call := range operations(ctx, b) {
			if err := call(); !errors.Is(err, cause) {
				t.Errorf("%s = %v, want the cause of its context", op, err)
			}
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v, want one second", took)
		}
		if ops, _ := s.seen(); len(ops) > 0 {
			t.Errorf("the backend has seen %q after the end of the context", ops)
		}
	})
}

func TestChaosFails(t *testing.T) {
	mine := errors.New("mine")
	for _, test := range []struct {
		cfg  proxy.ChaosConfig
		want error
		lost bool
	}{
		{proxy.ChaosConfig{ErrorRate: 1}, proxy.ErrChaos, false},
		{proxy.ChaosConfig{ErrorRate: 1, Err: mine}, mine, false},
		{proxy.ChaosConfig{LostRate: 1}, proxy.ErrChaos, true},
		{proxy.ChaosConfig{LostRate: 1, Err: mine}, mine, true},
	} {
		s := &spy{Backend: newStore(t, memory.Config{})}
		b := proxy.Chaos(test.cfg)(s)
		for op, call := range operations(t.Context(), b) {
			s.ops = nil
			if err := call(); !errors.Is(err, test.want) || !strings.Contains(err.Error(), op) {
				t.Errorf("%+v: %s = %v, want %v", test.cfg, op, err, test.want)
			}
			if ops, _ := s.seen(); test.lost != slices.Equal(ops, []string{op}) || !test.lost && len(ops) > 0 {
				t.Errorf("%+v: %s reached the backend as %q", test.cfg, op, ops)
			}
		}
		isFree(t, s.Backend, "ann", true)
	}
}

// What is lost was carried out all the same; only leases are given back.
func TestChaosLosesAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := newStore(t, memory.Config{}), t.Context()
		b := proxy.Chaos(proxy.ChaosConfig{LostRate: 1})(store)
		put(t, store, "bob", "Bob")
		items := []backend.Item{{Key: user("ann"), Entry: entry(b, "Ann")}}
		before, _ := store.Stamps(ctx, []backend.Guard{users})
		if stamps, err := b.Set(ctx, items, []backend.Guard{users}); stamps != nil || !errors.Is(err, proxy.ErrChaos) {
			t.Errorf("Set = %v, %v", stamps, err)
		}
		if err := b.Delete(ctx, []backend.Key{user("bob")}); !errors.Is(err, proxy.ErrChaos) {
			t.Errorf("Delete = %v", err)
		}
		if ann, bob := says(t, store, user("ann")), says(t, store, user("bob")); ann != "Ann" || bob != "" {
			t.Errorf("stored are %q and %q, want Ann alone", ann, bob)
		}
		if err := b.Renew(ctx, []backend.Guard{users}, false); !errors.Is(err, proxy.ErrChaos) {
			t.Errorf("Renew = %v", err)
		}
		if now, _ := store.Stamps(ctx, []backend.Guard{users}); now[0].Hard == before[0].Hard {
			t.Error("Renew was not carried out")
		}
		found, err := b.Get(ctx, user("ann"), []backend.Guard{users})
		entries, stamps, err2 := b.GetMulti(ctx, []backend.Key{user("ann")}, []backend.Guard{users})
		if err == nil || err2 == nil || found.Entry != nil || found.Stamps != nil || entries != nil || stamps != nil {
			t.Error("something is said of what was lost")
		}
		ctx, cancel := context.WithCancel(ctx)
		late := proxy.Chaos(proxy.ChaosConfig{LostRate: 1})(&after{store, cancel})
		for name, b := range map[string]backend.Backend{"at once": b, "when the context has ended": late} {
			if grants, _, err := b.Acquire(ctx, []backend.Key{user("ann"), user("bob")}, nil); grants != nil || !errors.Is(err, proxy.ErrChaos) {
				t.Errorf("%s: Acquire = %v, %v", name, grants, err)
			}
			isFree(t, store, "ann", true)
			isFree(t, store, "bob", true)
		}

		// A failure of the backend's own is more than one of ours.
		store.Close()
		for op, call := range operations(t.Context(), b) {
			if err := call(); !errors.Is(err, backend.ErrClosed) {
				t.Errorf("%s over a closed backend = %v, want backend.ErrClosed", op, err)
			}
		}
	})
}

// after does something when leases have been granted.
type after struct {
	backend.Backend
	acquire func()
}

func (a *after) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	defer a.acquire()
	grants, stamps, err := a.Backend.Acquire(ctx, keys, guards)
	for i := range grants {
		grants[i].Lease = remote{grants[i].Lease}
	}
	return grants, stamps, err
}

// remote is a lease that is not given back without a context, like one on a server.
type remote struct{ lock.Lease }

func (r remote) Release(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.Lease.Release(ctx)
}

func TestChaosWhen(t *testing.T) {
	var down atomic.Bool
	var asked []string
	b := proxy.Chaos(proxy.ChaosConfig{ErrorRate: 1, Latency: time.Nanosecond, When: func(op string) bool {
		asked = append(asked, op)
		return down.Load() && op != "Wait"
	}})(newStore(t, memory.Config{}))
	for _, is := range []bool{false, true, false} {
		down.Store(is)
		for op, call := range operations(t.Context(), b) {
			asked = nil
			if err := call(); (err != nil) != (is && op != "Wait") {
				t.Errorf("%s = %v; an outage: %v", op, err, is)
			}
			if !slices.Equal(asked, []string{op}) {
				t.Errorf("%s: When was asked about %q", op, asked)
			}
		}
	}
}

// The law that matters most, over a backend of which a third fails or lies: whoever reads
// after an invalidation was called gets no value from before it.
func TestNoInvalidationIsLostInChaos(t *testing.T) {
	for name, cfg := range map[string]memory.Config{"values": {}, "bytes": {Copy: true}} {
		t.Run(name, func(t *testing.T) {
			r := with(t, region.Config{Backend: newStore(t, cfg), Wrap: []wrapper{
				proxy.Chaos(proxy.ChaosConfig{ErrorRate: 0.2, LostRate: 0.15, Jitter: 20 * time.Microsecond}),
			}})
			var row, floor atomic.Int64 // what the table says, and what a reader has to see at least
			load := func(context.Context) (int64, error) { return row.Load(), nil }
			stop := make(chan struct{})
			var readers sync.WaitGroup
			for range 4 {
				readers.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						least := floor.Load()
						value, err := region.GetOrCreate(t.Context(), r, "k", load, region.WithTags("t"))
						if err != nil || value < least {
							t.Errorf("a reader got %d, %v, after an invalidation of everything before %d", value, err, least)
							return
						}
					}
				})
			}
			for i := range int64(300) {
				row.Store(i)
				switch i % 3 {
				case 0:
					r.Delete(t.Context(), "k")
				case 1:
					r.InvalidateTags(t.Context(), "t")
				default:
					r.Invalidate(t.Context(), region.Hard)
				}
				floor.Store(i)
			}
			close(stop)
			readers.Wait()
		})
	}
}

// What a user writes: a shop whose cache is down, and slow and losing answers otherwise.
func TestPricesInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var outage atomic.Bool
		prices := with(t, region.Config{
			Backend: newStore(t, memory.Config{Copy: true}),
			Wrap: []wrapper{
				proxy.Chaos(proxy.ChaosConfig{ErrorRate: 1, When: func(string) bool { return outage.Load() }}),
				proxy.Chaos(proxy.ChaosConfig{Seed: 42, Latency: 2 * time.Millisecond, Jitter: 50 * time.Millisecond, LostRate: 0.1}),
			},
		})
		price := 10
		ask := func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // what a customer waits
			defer cancel()
			got, err := region.GetOrCreate(ctx, prices, "apples", func(context.Context) (int, error) { return price, nil })
			if err != nil || got != price {
				t.Errorf("apples cost %d, %v; want %d", got, err, price)
			}
		}
		for range 100 {
			ask()
		}
		outage.Store(true)
		ask()
		price = 12
		if err := prices.Delete(t.Context(), "apples"); !errors.Is(err, region.ErrPending) {
			t.Errorf("Delete in an outage = %v, want region.ErrPending", err)
		}
		outage.Store(false)
		for range 100 {
			ask() // never the old price, which is in the cache still
		}
	})
}
