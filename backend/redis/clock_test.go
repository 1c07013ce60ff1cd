package redis_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// Processes whose clocks differ agree on the age of a value. Inside a bubble the clock
// shows the year 2000, outside it shows today.
func TestClocksMayDiffer(t *testing.T) {
	server := redistest.Shared(t)
	cfg := redis.Config{Prefix: space()}
	open := func(t *testing.T) (*redis.Backend, *region.Region) {
		client := server.Client(t)
		b := redis.New(client, cfg)
		r, err := region.New("users", region.Config{Backend: b, Expiration: time.Minute, StaleFor: region.NoStale})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return b, r
	}
	_, today := open(t)
	if err := region.Set(t.Context(), today, "from today", "v"); err != nil {
		t.Fatal(err)
	}
	var told time.Time
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		b, then := open(t)
		if year := time.Now().Year(); year != 2000 {
			t.Fatalf("the bubble's clock shows the year %d", year)
		}
		if err := region.Set(t.Context(), then, "from then", "v"); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := region.Get[string](t.Context(), then, "from today"); !ok || err != nil {
			t.Errorf("a process whose clock is slow finds %v, %v; want the value that was just stored", ok, err)
		}
		told = b.Now()
	})
	if off := told.Sub(began); off < -time.Second || off > time.Since(began)+time.Second {
		t.Errorf("a process whose clock is slow thinks that the server's shows %v, want %v", told, began)
	}
	if _, ok, err := region.Get[string](t.Context(), today, "from then"); !ok || err != nil {
		t.Errorf("a process whose clock is right finds %v, %v; want the value that was just stored", ok, err)
	}
}

var _ backend.Clock = (*redis.Backend)(nil)
