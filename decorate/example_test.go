package decorate_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// A wrapped function can be called, and what is kept of it can be looked at,
// replaced and removed.
func ExampleCacheOnArguments() {
	r, err := region.New("greetings", region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	greet := decorate.CacheOnArguments(r, func(_ context.Context, name string) (string, error) {
		fmt.Println("query for", name)
		return "Hello, " + name, nil
	}, region.Namespace("greet"))

	ctx := context.Background()
	fmt.Println(greet.Call(ctx, "Ann"))
	fmt.Println(greet.Call(ctx, "Ann"))
	fmt.Println(greet.Key("Ann"))
	if err := greet.Invalidate(ctx, "Ann"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(greet.Get(ctx, "Ann"))
	// Output:
	// query for Ann
	// Hello, Ann <nil>
	// Hello, Ann <nil>
	// greet("Ann") <nil>
	//  false <nil>
}
