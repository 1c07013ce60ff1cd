package region_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// The creator of a batch is called once, with the keys that have no value.
func ExampleGetOrCreateMulti() {
	store, err := backend.Open("memory:?max_entries=1000")
	if err != nil {
		log.Fatal(err)
	}
	prices, err := region.New("prices", region.Config{Backend: store, Expiration: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	defer prices.Close()

	ctx := context.Background()
	query := func(_ context.Context, missing []string) (map[string]int, error) {
		fmt.Println("query for", missing)
		found := map[string]int{}
		for _, name := range missing {
			found[name] = len(name)
		}
		return found, nil
	}
	for _, names := range [][]string{{"tea", "milk"}, {"milk", "sugar", "tea"}} {
		m, err := region.GetOrCreateMulti(ctx, prices, names, query)
		fmt.Println(m, err)
	}
	// Output:
	// query for [tea milk]
	// map[milk:4 tea:3] <nil>
	// query for [sugar]
	// map[milk:4 sugar:5 tea:3] <nil>
}
