package bench

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/file"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/region"
)

// elsewhere are fleets that share something else than a Redis. Their address is a URL.
var elsewhere = []fleetOf{
	{name: "region_on_memcached", join: joinByURL, locks: true, ours: true},
	{name: "region_on_files", join: joinByURL, locks: true, ours: true},
	{name: "gomemcache_100ms", join: joinGomemcache, locks: true},
}

// placeOf returns the URL of what a fleet shares.
func placeOf(tb testing.TB, who fleetOf) string {
	tb.Helper()
	if who.name == "region_on_files" {
		return "file://" + tb.TempDir()
	}
	return memcachedtest.Start(tb).URL()
}

func joinByURL(url string, create creator) (creator, func() error, error) {
	b, err := backend.Open(url)
	if err != nil {
		return nil, nil, err
	}
	r, err := region.New("herd", region.Config{Backend: b, Expiration: keepFor})
	if err != nil {
		return nil, nil, err
	}
	ask := func(ctx context.Context, key string) (string, error) {
		return region.GetOrCreate(ctx, r, key, func(ctx context.Context) (string, error) { return create(ctx, key) })
	}
	return ask, r.Close, nil
}

// joinGomemcache is what one writes by hand: one caller in each process tries for the
// lock ten times a second, and looks for the value each time.
func joinGomemcache(url string, create creator) (creator, func() error, error) {
	const retry = 100 * time.Millisecond
	client := memcache.New(url[len("memcached://"):])
	once := func(ctx context.Context, key string) (string, error) {
		name := memcachedName(key)
		for {
			item, err := client.Get(name)
			if err == nil {
				return string(item.Value), nil
			}
			if !errors.Is(err, memcache.ErrCacheMiss) {
				return "", err
			}
			err = client.Add(&memcache.Item{Key: "lock:" + name, Expiration: int32(rivalLease / time.Second)})
			if errors.Is(err, memcache.ErrNotStored) {
				time.Sleep(retry)
				continue
			}
			if err != nil {
				return "", err
			}
			value, err := create(ctx, key)
			if err == nil {
				err = client.Set(&memcache.Item{Key: name, Value: []byte(value)})
			}
			return value, errors.Join(err, client.Delete("lock:"+name))
		}
	}
	return shared(once), client.Close, nil
}

// memcachedName makes a key that memcached takes: without spaces.
func memcachedName(key string) string { return strings.ReplaceAll(key, " ", "_") }

// BenchmarkHerdElsewhere is the cold part of BenchmarkHerd on memcached and on files.
func BenchmarkHerdElsewhere(b *testing.B) {
	for _, who := range elsewhere {
		b.Run("who="+who.name, func(b *testing.B) {
			b.Run("cold", func(b *testing.B) {
				var late []float64
				creations := 0
				for b.Loop() {
					fleet := fleettest.Start(b, "herd", processes, herdParams{who.name, placeOf(b, who), herdCallers, createFor, herdRounds})
					fleet.AwaitReady()
					for range herdRounds {
						created := len(fleet.Events("created"))
						fleet.Send("go")
						last := collect(b, fleet.Workers, herdCallers, who.ours)
						events := fleet.Events("created")[created:]
						creations += len(events)
						late = append(late, ms(last.Sub(events[0].At)))
					}
					fleet.Wait()
				}
				b.ReportMetric(0, "ns/op") // it would be the time of the creators
				b.ReportMetric(float64(creations)/float64(len(late)), "creations")
				b.ReportMetric(median(late), "last-ms")
				b.ReportMetric(slices.Max(late), "last-ms-max")
			})
		})
	}
}

// TestHerdsElsewhere shows that every fleet gives every caller one and the same value.
func TestHerdsElsewhere(t *testing.T) {
	for _, who := range elsewhere {
		t.Run(who.name, func(t *testing.T) {
			const processes, callers = 2, 10
			fleet := fleettest.Start(t, "herd", processes, herdParams{who.name, placeOf(t, who), callers, 50 * time.Millisecond, 1})
			fleet.AwaitReady()
			created := len(fleet.Events("created"))
			fleet.Send("go")
			for _, p := range fleet.Workers {
				var report herdReport
				p.Report(&report)
				for text := range report.Errors {
					t.Error(text)
				}
			}
			fleet.Wait()
			if creations := len(fleet.Events("created")) - created; creations != 1 {
				t.Errorf("%d creations, want 1", creations)
			}
		})
	}
}
