package decorate_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// A service creates what will be asked for before it takes requests.
func ExampleWarm() {
	users, err := region.New("users", region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()

	getUser := decorate.CacheOnArguments(users, func(_ context.Context, id int64) (string, error) {
		return fmt.Sprint("user ", id), nil
	}, region.Namespace("getUser"))

	ctx := context.Background()
	if err := getUser.Set(ctx, 2, "user 2"); err != nil {
		log.Fatal(err)
	}
	report, err := decorate.Warm(ctx, getUser, slices.Values([]int64{1, 2, 3, 4}), decorate.WarmOptions{
		Concurrency: 2,
		Rate:        1000,
		Progress: func(r decorate.WarmReport) {
			fmt.Println("warming users:", r.Seen, "seen,", r.Created, "created")
		},
	})
	if err != nil {
		log.Print(err) // the service can start all the same
	}
	fmt.Println(report.Present, "were there already")
	// Output:
	// warming users: 4 seen, 3 created
	// 1 were there already
}

// The arguments of a function that has several are one struct.
func ExampleWarm_severalArguments() {
	prices, err := region.New("prices", region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	defer prices.Close()

	getPrice := decorate.CacheOnArguments2(prices, func(_ context.Context, item int64, currency string) (string, error) {
		return fmt.Sprint(item, " ", currency), nil
	}, region.Namespace("getPrice"))

	type args = region.Args2[int64, string]
	list := func(yield func(args) bool) {
		for item := range int64(3) {
			for _, currency := range []string{"EUR", "USD"} {
				if !yield(args{A: item, B: currency}) {
					return
				}
			}
		}
	}
	report, err := decorate.Warm(context.Background(), getPrice, list, decorate.WarmOptions{})
	fmt.Println(report.Created, err)
	// Output: 6 <nil>
}
