package region_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/codec/json"
	"github.com/dogpile-go/dogpile/region"
)

type user struct {
	ID   int64
	Tags []string
}

func TestAnotherTypeIsAMissAndAnEvent(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		rec := &recorder{}
		cfg.Observer = rec
		r := open(t, cfg)
		if err := region.Set(t.Context(), r, "k", user{ID: 1}); err != nil {
			t.Fatal(err)
		}
		type post struct{ ID int64 }
		if v, ok, err := region.Get[post](t.Context(), r, "k"); ok || err != nil {
			t.Errorf("Get = %v, %v, %v; want a miss", v, ok, err)
		}
		if v, ok, err := region.Get[*user](t.Context(), r, "k"); ok || err != nil {
			t.Errorf("Get = %v, %v, %v; want a miss", v, ok, err)
		}
		must(t, r, "k", counting(), "v1")
		if len(rec.badEntries) < 3 || r.Stats().BadEntries != int64(len(rec.badEntries)) {
			t.Errorf("%d events and %d counted for 3 reads", len(rec.badEntries), r.Stats().BadEntries)
		}
		for _, e := range rec.badEntries {
			if e.Region != "test" || e.Key != "k" || e.Err == nil {
				t.Errorf("the event says %+v", e)
			}
		}
	})
}

func TestCallersOfTwoTypesAtOnceEachGetTheirOwn(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		strings := herd(t, 1, r, "k", c)
		numbers := make(chan error, 5)
		for range 5 {
			go func() {
				n, err := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (int, error) { return 7, nil })
				if n != 7 && err == nil {
					err = fmt.Errorf("got %d", n)
				}
				numbers <- err
			}()
		}
		synctest.Wait()
		c.release()
		allGot(t, strings, "v1")
		for range 5 {
			if err := <-numbers; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAValueThatCannotBeEncodedReachesItsCallers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := &recorder{}
		cfg := config(memory.Config{Copy: true})
		cfg.Observer = rec
		r := open(t, cfg)
		type node struct{ Next *node }
		ring := &node{}
		ring.Next = ring
		got, err := region.GetOrCreate(t.Context(), r, "ring", func(context.Context) (*node, error) { return ring, nil })
		if got != ring || err != nil {
			t.Errorf("got %v, %v; want the ring itself", got, err)
		}
		f, err := region.GetOrCreate(t.Context(), r, "func", func(context.Context) (func() int, error) {
			return func() int { return 1 }, nil
		})
		if err != nil || f() != 1 {
			t.Errorf("a function: %v", err)
		}
		if len(rec.unstored) != 2 || !errors.Is(rec.unstored[0].Err, region.ErrEncode) {
			t.Errorf("events %+v; want two of ErrEncode", rec.unstored)
		}

		if err := region.Set(t.Context(), r, "k", "before"); err != nil {
			t.Fatal(err)
		}
		if err := region.Set(t.Context(), r, "k", ring); !errors.Is(err, region.ErrEncode) {
			t.Errorf("Set = %v, want ErrEncode", err)
		}
		holds(t, r, "k", "before")
	})
}

type panicky struct{ N int }

func (panicky) MarshalJSON() ([]byte, error) { panic("no") }

func TestAPanicOfACodecIsNotThePanicOfACaller(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{Copy: true})
		cfg.Codec = json.New()
		r := open(t, cfg)
		if _, err := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (panicky, error) { return panicky{1}, nil }); err != nil {
			t.Error(err)
		}
		if err := region.Set(t.Context(), r, "k", panicky{}); !errors.Is(err, region.ErrEncode) {
			t.Errorf("Set = %v, want ErrEncode", err)
		}
	})
}

func TestCallersOfACopyingBackendShareNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, config(memory.Config{Copy: true}))
		gate := make(chan struct{})
		got := make(chan user, 20)
		for range cap(got) {
			go func() {
				u, err := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (user, error) {
					<-gate
					return user{ID: 1, Tags: []string{"a"}}, nil
				})
				if err != nil {
					t.Error(err)
				}
				got <- u
			}()
		}
		synctest.Wait()
		close(gate)
		for range cap(got) {
			u := <-got
			if u.Tags[0] != "a" {
				t.Fatal("a caller sees what another one has written")
			}
			u.Tags[0] = "changed"
		}
		u, _, err := region.Get[user](t.Context(), r, "k")
		if err != nil || u.Tags[0] != "a" {
			t.Errorf("got %v, %v", u, err)
		}
	})
}

func TestAnotherCodecsBytesAreAMissAndAnEvent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{Copy: true})
		old := open(t, cfg)
		must(t, old, "k", counting(), "v1")
		cfg.Codec = json.New()
		r := open(t, cfg)
		holds(t, r, "k", "")
		if s := r.Stats(); s.BadEntries != 1 {
			t.Errorf("%d bad entries, want 1", s.BadEntries)
		}
	})
}

func TestDamagedBytesAreAMissAndAnEvent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{Copy: true})
		rec := &recorder{}
		cfg.Observer = rec
		r := open(t, cfg)
		ctx := t.Context()
		must(t, r, "k", counting(), "v1")
		found, err := cfg.Backend.Get(ctx, backend.Key{Region: "test", Name: "k"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		put := func(key string, data []byte) {
			t.Helper()
			items := []backend.Item{{Key: backend.Key{Region: "test", Name: key}, Entry: &backend.Entry{Data: data}}}
			if _, err := cfg.Backend.Set(ctx, items, nil); err != nil || items[0].Err != nil {
				t.Fatal(err, items[0].Err)
			}
		}
		for name, data := range map[string][]byte{
			"nothing":   nil,
			"truncated": found.Entry.Data[:len(found.Entry.Data)-1],
			"flipped":   append(append([]byte{}, found.Entry.Data[:50]...), append([]byte{found.Entry.Data[50] ^ 1}, found.Entry.Data[51:]...)...),
			"foreign":   []byte(`{"ct": 1795222722.15, "v": 2}|"x"`),
		} {
			put("k", data)
			events := len(rec.badEntries)
			holds(t, r, "k", "")
			if len(rec.badEntries) != events+1 {
				t.Errorf("%s: no event", name)
			}
		}
		put("other", found.Entry.Data)
		holds(t, r, "other", "")
		put("k", found.Entry.Data)
		holds(t, r, "k", "v1")
	})
}

func TestABackendThatFailsIsAMiss(t *testing.T) {
	failure := errors.New("connection refused")
	eachKind(t, func(t *testing.T, cfg region.Config) {
		down := true
		rec := &recorder{}
		cfg.Observer = rec
		cfg.Wrap = append(cfg.Wrap, probing(&probe{fail: func(op string) error {
			if down {
				return failure
			}
			return nil
		}}))
		r, c := open(t, cfg), blocking()
		calls := herd(t, 50, r, "k", c)
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
		if len(rec.backendErrors) == 0 || r.Stats().Errors == 0 {
			t.Error("nobody was told")
		}

		ctx := t.Context()
		_, ok, get := region.Get[string](ctx, r, "k")
		if ok {
			t.Error("Get says ok")
		}
		_, getm := region.GetMulti[string](ctx, r, []string{"a", "b"})
		for what, err := range map[string]error{
			"Get": get, "GetMulti": getm, "Set": region.Set(ctx, r, "k", "v"), "Delete": r.Delete(ctx, "k"),
			"Invalidate": r.Invalidate(ctx, region.Soft),
		} {
			if !errors.Is(err, failure) {
				t.Errorf("%s = %v, want the failure", what, err)
			}
		}
		mustMulti(t, r, []string{"a", "b"}, &loader{}, values("a", "b"))
		down = false
		must(t, r, "k", counting(), "v1")
		holds(t, r, "k", "v1")
	})
}

func TestAValueIsReturnedThoughStoringItFails(t *testing.T) {
	failure := errors.New("out of memory")
	for _, failing := range []string{"set", "acquire", "get", "wait"} {
		t.Run(failing, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				holder, held := open(t, cfg), blocking()
				cfg.Wrap = append(cfg.Wrap, probing(&probe{fail: func(op string) error {
					if op == failing {
						return failure
					}
					return nil
				}}))
				r, c := open(t, cfg), counting()
				c.value = func(int64) (string, error) { time.Sleep(time.Second); return "v", nil }
				if failing == "wait" {
					calls := herd(t, 1, holder, "k", held)
					defer func() { held.release(); allGot(t, calls, "v1") }()
				}
				allGot(t, herd(t, 20, r, "k", c), "v")
				// Those who came after the creator had begun could not be shown that
				// nothing was invalidated meanwhile: they share another one.
				if n := c.calls.Load(); n > 2 {
					t.Errorf("the creator ran %d times for 20 callers, want 2 at most", n)
				}
			})
		})
	}
}

func TestNotFoundIsRememberedForItsOwnTime(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.NotFoundFor = 10 * time.Second
		r := open(t, cfg)
		c := counting()
		noRows := errors.New("no rows")
		c.value = func(int64) (string, error) { return "", fmt.Errorf("%w: %w", region.ErrNotFound, noRows) }
		ask := func() error {
			_, err := region.GetOrCreate(t.Context(), r, "k", c.create)
			return err
		}
		if err := ask(); !errors.Is(err, region.ErrNotFound) || !errors.Is(err, noRows) {
			t.Errorf("got %v; want the creator's error", err)
		}
		time.Sleep(10 * time.Second)
		if err := ask(); !errors.Is(err, region.ErrNotFound) {
			t.Errorf("got %v; want ErrNotFound", err)
		}
		holds(t, r, "k", "")
		c.want(t, 1)
		time.Sleep(2 * time.Second)
		if err := ask(); !errors.Is(err, region.ErrNotFound) {
			t.Errorf("got %v; want ErrNotFound", err)
		}
		c.want(t, 2)
		if err := r.Invalidate(t.Context(), region.Soft); err != nil {
			t.Fatal(err)
		}
		must(t, r, "k", counting(), "v1") // "not found" is never stale, and an insert invalidates it
		if s := r.Stats(); s.FailedCreations != 0 {
			t.Errorf("%d failed creations; not found is an answer", s.FailedCreations)
		}
	})
}

func TestNotFoundIsNotRememberedByDefault(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		c.value = func(int64) (string, error) { return "", region.ErrNotFound }
		for range 2 {
			if _, err := region.GetOrCreate(t.Context(), r, "k", c.create); !errors.Is(err, region.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
		c.want(t, 2)
	})
}

func TestPerCallExpiration(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		must(t, r, "k", c, "v1")
		time.Sleep(30 * time.Second)
		must(t, r, "k", c, "v1")
		must(t, r, "k", c, "v2", region.WithExpiration(10*time.Second))
		time.Sleep(10 * time.Minute)
		must(t, r, "k", c, "v2", region.WithExpiration(region.Forever))
		must(t, r, "k", c, "v3", region.WithExpiration(0))
		must(t, r, "k", c, "v3")
		time.Sleep(30 * time.Second)
		if _, ok, _ := region.Get[string](t.Context(), r, "k", region.WithExpiration(time.Second)); ok {
			t.Error("Get does not judge by the call's expiration")
		}
		if err := region.Set(t.Context(), r, "long", "v", region.WithExpiration(time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Minute)
		if _, ok, _ := region.Get[string](t.Context(), r, "long", region.AllowStale(), region.WithExpiration(time.Hour)); !ok {
			t.Error("Set does not keep by the call's expiration")
		}
	})
}

func TestExpirationZeroWaitsForACreationAfterItCame(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, old := open(t, cfg), blocking()
		running := herd(t, 1, r, "k", old)
		c := blocking()
		c.value = func(int64) (string, error) { return "new", nil }
		refreshing := herd(t, 3, r, "k", c, region.WithExpiration(0))
		c.want(t, 0)
		old.release()
		allGot(t, running, "v1")
		synctest.Wait()
		c.want(t, 1)
		c.release()
		allGot(t, refreshing, "new")
		c.want(t, 1)
	})
}

func TestTheCreatorSpeaksOfItsValue(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		calls := 0
		ask := func(say func(*region.Creation)) string {
			v, err := region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
				calls++
				say(region.FromContext(ctx))
				return fmt.Sprint("v", calls), nil
			})
			if err != nil {
				t.Error(err)
			}
			return v
		}
		ask(func(c *region.Creation) {
			if v, ok := c.Stale(); ok {
				t.Errorf("there is a stale value %v at first", v)
			}
			c.SetExpiration(10 * time.Minute)
		})
		time.Sleep(9 * time.Minute)
		if v := ask(nil); v != "v1" {
			t.Errorf("got %q: the value's own expiration does not count", v)
		}
		time.Sleep(2 * time.Minute)
		if v := ask(func(c *region.Creation) {
			if v, ok := c.Stale(); !ok || v != "v1" {
				t.Errorf("the stale value is %v, %v; want v1", v, ok)
			}
			c.DoNotCache()
		}); v != "v2" {
			t.Errorf("got %q, want v2", v)
		}
		if v, ok, _ := region.Get[string](t.Context(), r, "k", region.AllowStale()); !ok || v != "v1" {
			t.Errorf("%q is stored, want v1 as before", v)
		}
		_, err := region.GetOrCreate(t.Context(), r, "bad", func(ctx context.Context) (string, error) {
			region.FromContext(ctx).SetExpiration(-5)
			return "", nil
		})
		if !errors.Is(err, region.ErrConfig) {
			t.Errorf("a negative SetExpiration: %v, want ErrConfig", err)
		}

		outside := region.FromContext(t.Context())
		outside.SetExpiration(1)
		outside.DoNotCache()
		if _, ok := outside.Stale(); ok || outside != nil {
			t.Error("there is a creation outside of creators")
		}
	})
}

func TestCacheIf(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		long := region.CacheIf(func(v string) bool { return v != "v1" })
		must(t, r, "k", c, "v1", long)
		must(t, r, "k", c, "v2", long)
		must(t, r, "k", c, "v2", long)
		if _, err := region.GetOrCreate(t.Context(), r, "k2", c.create, region.CacheIf(func(int) bool { return true })); !errors.Is(err, region.ErrConfig) {
			t.Errorf("CacheIf of another type: %v", err)
		}
		var p *region.PanicError
		if _, err := region.GetOrCreate(t.Context(), r, "k3", c.create, region.CacheIf(func(string) bool { panic("no") })); !errors.As(err, &p) {
			t.Errorf("CacheIf that panics: %v", err)
		}
	})
}

func TestAHerdOnAValueThatIsNotKept(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		calls := herd(t, 200, r, "k", c, region.CacheIf(func(string) bool { return false }))
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
	})
}
