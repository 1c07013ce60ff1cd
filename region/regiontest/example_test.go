package regiontest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regiontest"
)

// run stands for go test: it runs a test and says what became of it. In a test file of
// your own these functions are called TestSomething and have a *testing.T.
func run(name string, test func(t testing.TB)) {
	t := &fake{name: name}
	test(t)
	t.end()
	fmt.Println(name, "passes:", !t.failed)
}

// users is declared in the program, and configured when it starts.
var users = region.Declare("regiontest.example.users")

func ExampleNew() {
	run("TestUserIsLoadedOnce", func(t testing.TB) {
		r := regiontest.New(t, func(c *region.Config) { c.Expiration = time.Minute })
		did := regiontest.Watch(t, r)
		for range 2 {
			name, err := region.GetOrCreate(t.Context(), r, "user:42", func(context.Context) (string, error) { return "Ann", nil })
			fmt.Println(name, err)
		}
		did.Creations(1)
		did.Hits(1)
	})
	// Output:
	// Ann <nil>
	// Ann <nil>
	// TestUserIsLoadedOnce passes: true
}

// A test has the region to itself, and then it is as it was.
func ExampleSwap() {
	ctx := context.Background()
	if err := users.Configure(region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Hour}); err != nil {
		fmt.Println(err)
		return
	}
	defer users.Close()
	fmt.Println(region.Set(ctx, users, "user:42", "the program's"))

	run("TestUsers", func(t testing.TB) {
		regiontest.Swap(t, region.Named("regiontest.example.users"), memory.New(memory.Config{}))
		_, ok, _ := region.Get[string](t.Context(), users, "user:42")
		fmt.Println("there in the test:", ok)
		fmt.Println(region.Set(t.Context(), users, "user:42", "the test's"))
	})

	fmt.Println(region.Get[string](ctx, users, "user:42"))
	// Output:
	// <nil>
	// there in the test: false
	// <nil>
	// TestUsers passes: true
	// the program's true <nil>
}

// Callers come while a creator is at work.
func ExampleCreator() {
	run("TestHerd", func(t testing.TB) {
		r := regiontest.New(t)
		c := regiontest.NewCreator[string](t)
		var herd sync.WaitGroup
		for range 100 {
			herd.Go(func() {
				if name, err := region.GetOrCreate(t.Context(), r, "user:42", c.Create); name != "Ann" || err != nil {
					t.Errorf("a caller got %q, %v", name, err)
				}
			})
		}
		c.WaitBegan(1)
		// In a bubble of testing/synctest, synctest.Wait() waits for all callers.
		fmt.Println("creators at work:", c.Began())
		c.Release("Ann")
		herd.Wait()
		c.Calls(1)
	})
	// Output:
	// creators at work: 1
	// TestHerd passes: true
}

// A creator that fails is not remembered.
func ExampleCreator_Fail() {
	run("TestOutage", func(t testing.TB) {
		r := regiontest.New(t)
		c := regiontest.NewCreator[string](t)
		down := errors.New("the database is down")
		c.Fail(down)
		c.Release("Ann")
		_, err := region.GetOrCreate(t.Context(), r, "user:42", c.Create)
		fmt.Println(errors.Is(err, down))
		fmt.Println(region.GetOrCreate(t.Context(), r, "user:42", c.Create))
	})
	// Output:
	// true
	// Ann <nil>
	// TestOutage passes: true
}
