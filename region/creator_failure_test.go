package region_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

func TestAPanicReachesEveryWaiter(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		broken := errors.New("broken")
		c.value = func(int64) (string, error) { panic(broken) }
		calls := herd(t, 10, r, "k", c)
		c.release()
		for _, call := range calls {
			a := <-call
			var p *region.PanicError
			if !errors.As(a.err, &p) || p.Value != broken || !errors.Is(a.err, broken) {
				t.Fatalf("got %v; want a PanicError of %v", a.err, broken)
			}
			if !strings.Contains(string(p.Stack), "creator_failure_test.go") {
				t.Errorf("the stack does not show where it panicked:\n%s", p.Stack)
			}
		}
		c.want(t, 1)
		must(t, r, "k", counting(), "v1")
	})
}

func TestGoexitReachesEveryWaiter(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		c.value = func(int64) (string, error) { runtime.Goexit(); return "", nil }
		calls := herd(t, 10, r, "k", c)
		c.release()
		for _, call := range calls {
			if a := <-call; !errors.Is(a.err, region.ErrCreatorExited) {
				t.Fatalf("got %v; want ErrCreatorExited", a.err)
			}
		}
		c.want(t, 1)
		must(t, r, "k", counting(), "v1")
	})
}

func TestAnErrorReachesEveryWaiterAndIsNotStored(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		failure := errors.New("the database is down")
		c.value = func(int64) (string, error) { return "", failure }
		calls := herd(t, 10, r, "k", c)
		c.release()
		for _, call := range calls {
			if a := <-call; !errors.Is(a.err, failure) {
				t.Fatalf("got %v; want the creator's error", a.err)
			}
		}
		c.want(t, 1)
		must(t, r, "k", counting(), "v1")
		if s := r.Stats(); s.FailedCreations != 1 || s.Creations != 1 {
			t.Errorf("stats %+v; want one failed and one good creation", s)
		}
	})
}

func TestACreatorThatHangsIsGivenUp(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.CreateTimeout = time.Second
		r := open(t, cfg)
		hang := make(chan struct{}) // it ignores its context
		began := time.Now()
		_, err := region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
			<-hang
			return "late", nil
		})
		if !errors.Is(err, region.ErrCreateTimeout) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v; want ErrCreateTimeout after 1s", err, time.Since(began))
		}
		must(t, r, "k", counting(), "v1")
		close(hang)
		synctest.Wait()
		holds(t, r, "k", "v1") // what comes late is not stored
	})
}
