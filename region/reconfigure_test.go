package region_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

func TestReconfigureLosesNoCaller(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.CloseTimeout = time.Second
		r := open(t, cfg)
		slow := blocking()
		calls := herd(t, 2, r, "k", slow)
		if err := r.Reconfigure(config(memory.Config{})); err != nil {
			t.Fatal(err)
		}
		for _, c := range calls {
			if a := <-c; errors.Is(a.err, region.ErrClosed) {
				t.Errorf("the region is in use, the caller got: %v", a.err)
			}
		}
	})
}

func TestReconfigureSendsCallersToTheNewBackend(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.CloseTimeout = time.Second
		r, c := open(t, cfg), blocking()
		calls := herd(t, 3, r, "k", c)
		batch := make(chan error, 1)
		l := &loader{gate: c.gate}
		go func() {
			_, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, l.create)
			batch <- err
		}()
		synctest.Wait()
		if err := r.Reconfigure(config(memory.Config{})); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		c.release()
		allGot(t, calls, "v2") // the first creation was cancelled
		if err := <-batch; err != nil {
			t.Error(err)
		}
		holds(t, r, "k", "v2")
	})
}

// The error of another region, which a creator passes on, is an error like any other.
func TestACreatorsErrReconfiguredIsNotTheRegionsOwn(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		c.value = func(int64) (string, error) { return "", fmt.Errorf("another region: %w", region.ErrReconfigured) }
		if a := <-background(t.Context(), r, "k", c); !errors.Is(a.err, region.ErrReconfigured) {
			t.Errorf("got %v", a.err)
		}
		c.want(t, 1)
	})
}

func TestReconfigureLeavesKeySpacesWithTheirWrappers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		r := open(t, cfg)
		a, b := region.Cached(r, (&repo{"a"}).load), region.Cached(r, (&repo{"b"}).load)
		if v, err := a(t.Context(), 1); v != "a1" || err != nil {
			t.Fatal(v, err)
		}
		if err := r.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		if v, err := b(t.Context(), 1); !errors.Is(err, region.ErrConfig) {
			t.Errorf("the second wrapper got %q, %v; want ErrConfig", v, err)
		}
		if v, err := a(t.Context(), 1); v != "a1" || err != nil {
			t.Errorf("the first wrapper got %q, %v", v, err)
		}
	})
}

// As in two tests that use one declared region.
func TestAServiceMayBeMadeAnewForEachConfiguration(t *testing.T) {
	users := region.Declare("edge-users")
	for i := range 2 {
		if err := users.Configure(region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Minute}); err != nil {
			t.Fatal(err)
		}
		repo := &repo{fmt.Sprint("db", i)}
		get := region.Cached(users, repo.load)
		if _, err := get(t.Context(), 1); err != nil {
			t.Errorf("test %d: %v", i, err)
		}
		users.Close()
	}
}
