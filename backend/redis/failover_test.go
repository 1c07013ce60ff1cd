package redis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// Sentinels fail over to a replica, which knows no scripts (R13), first as planned and
// then because the master has died. Regions work on, and waiters are woken.
func TestFaultFailover(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	url := fmt.Sprintf("redis+sentinel://%s/%s?prefix=%s", strings.Join(sentinel.Addrs, ","), sentinel.MasterName, space())
	open := func() *region.Region {
		b, err := backend.Open(url)
		if err != nil {
			t.Fatal(err)
		}
		r, err := region.New("users", region.Config{Backend: b, Expiration: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	a, b := open(), open()
	works := func(when string) {
		t.Helper()
		began := time.Now()
		for i := 0; ; i++ {
			key := fmt.Sprint(when, i)
			got, err := region.GetOrCreate(t.Context(), a, key, func(context.Context) (string, error) { return "v", nil })
			if err != nil || got != "v" {
				t.Fatalf("%s: GetOrCreate = %q, %v", when, got, err)
			}
			if found, ok, err := region.Get[string](t.Context(), b, key); ok && found == "v" && err == nil {
				break
			}
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%s: after twenty seconds nothing that one process stores is found by the other", when)
			}
		}
		t.Logf("%s: all is well after %v", when, time.Since(began))

		held, release := make(chan struct{}), make(chan struct{})
		go func() {
			_, _ = region.GetOrCreate(t.Context(), a, when, func(context.Context) (string, error) {
				close(held)
				<-release
				return "by the holder", nil
			})
		}()
		<-held
		woken := make(chan time.Time, 1)
		go func() {
			got, err := region.GetOrCreate(t.Context(), b, when, func(context.Context) (string, error) { return "by the waiter", nil })
			if err != nil || got != "by the holder" && got != "by the waiter" {
				t.Errorf("%s: the waiter got %q, %v", when, got, err)
			}
			woken <- time.Now()
		}()
		time.Sleep(50 * time.Millisecond)
		released := time.Now()
		close(release)
		if late := (<-woken).Sub(released); late > 5*time.Second {
			t.Errorf("%s: the waiter was woken after %v", when, late)
		}
	}
	works("at first")
	sentinel.Failover(t)
	works("after a planned failover")
	old := sentinel.KillMaster(t)
	sentinel.AwaitFailover(t, old)
	works("after the master has died")
}
