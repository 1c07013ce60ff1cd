package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/proxy"
	"github.com/dogpile-go/dogpile/region"
)

// A test of what a program does when its cache is down. With Latency and Jitter, too, such
// a test is best run in a bubble of testing/synctest.
func ExampleChaos() {
	ctx := context.Background()
	var outage atomic.Bool
	prices, err := region.New("prices", region.Config{
		Backend:    memory.New(memory.Config{Copy: true}), // in place of the shared one
		Expiration: time.Minute,
		Wrap: []func(backend.Backend) backend.Backend{
			proxy.Chaos(proxy.ChaosConfig{ErrorRate: 1, When: func(string) bool { return outage.Load() }}),
			proxy.Chaos(proxy.ChaosConfig{Seed: 42, LostRate: 0.1}),
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer prices.Close()
	price := 10
	ask := func() {
		got, err := region.GetOrCreate(ctx, prices, "apples", func(context.Context) (int, error) { return price, nil })
		if err != nil || got != price {
			fmt.Println("apples cost", got, err)
		}
	}

	ask()
	outage.Store(true)
	ask() // from the database
	price = 12
	err = prices.Delete(ctx, "apples")
	fmt.Println("to be made up for:", errors.Is(err, region.ErrPending))
	outage.Store(false)
	ask() // never the old price, which is in the cache still
	// Output:
	// to be made up for: true
}

// Staging reads what production has stored, and leaves it alone.
func ExampleReadOnly() {
	ctx := context.Background()
	shared := memory.New(memory.Config{}) // on a server, in earnest
	open := func(wrap ...func(backend.Backend) backend.Backend) *region.Region {
		r, err := region.New("users", region.Config{Backend: shared, Expiration: time.Hour, Wrap: wrap})
		if err != nil {
			panic(err)
		}
		return r
	}
	production, staging := open(), open(proxy.ReadOnly())
	defer production.Close()
	defer staging.Close()

	region.Set(ctx, production, "42", "Ann")
	load := func(context.Context) (string, error) { return "from staging's database", nil }
	for _, key := range []string{"42", "43"} {
		fmt.Println(region.GetOrCreate(ctx, staging, key, load))
	}
	_, found, _ := region.Get[string](ctx, production, "43")
	fmt.Println(found)
	err := region.Set(ctx, staging, "42", "Bob")
	fmt.Println(errors.Is(err, proxy.ErrReadOnly))
	// Output:
	// Ann <nil>
	// from staging's database <nil>
	// false
	// true
}

func ExampleLogging() {
	ctx := context.Background()
	withoutTimes := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "time" || a.Key == "took" {
			return slog.Attr{}
		}
		return a
	}
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTimes}))
	users, err := region.New("users", region.Config{
		Backend:    memory.New(memory.Config{}),
		Expiration: time.Hour,
		Wrap: []func(backend.Backend) backend.Backend{
			proxy.Logging(proxy.LoggingConfig{Logger: logger}),
			proxy.Prefix("staging"),
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	region.Set(ctx, users, "42", "Ann")
	region.Get[string](ctx, users, "42")
	users.Close()
	// Output:
	// level=DEBUG msg="backend operation" op=Stamps region=users guards=1
	// level=DEBUG msg="backend operation" op=Set region=users keys=1 refused=0
	// level=DEBUG msg="backend operation" op=Get region=users keys=1 guards=1 found=1
	// level=DEBUG msg="backend operation" op=Close
}
