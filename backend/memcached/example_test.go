package memcached_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/region"
)

// A fleet of processes shares two servers. A value is created once for all of them.
func ExampleNew() {
	users, err := region.New("users", region.Config{
		Backend: memcached.New(memcached.Config{
			Servers: []string{"10.0.0.1:11211", "10.0.0.2:11211"},
			Prefix:  "app",
		}),
		Expiration: 5 * time.Minute,
		StaleFor:   time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	name, err := region.GetOrCreate(context.Background(), users, "42", func(ctx context.Context) (string, error) {
		return "Ann", nil // the query, run by one process of the fleet
	})
	fmt.Println(name, err)
}

// The backend is a matter of configuration, and need not be there yet.
func Example_url() {
	b, err := backend.Open("memcached://10.0.0.1,10.0.0.2?prefix=app&lease_ttl=30s")
	if err != nil {
		log.Fatal(err) // names the option that is wrong, for one
	}
	defer b.Close()
	fmt.Println(b.Bytes())
	// Output: true
}
