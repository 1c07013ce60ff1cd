package redis_test

import (
	"context"
	"fmt"
	"log"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/region"
)

// A service has a client already, and shares it.
func ExampleNew() {
	client := goredis.NewClient(&goredis.Options{
		Addr:                  "127.0.0.1:6379",
		ContextTimeoutEnabled: true, // calls end at their deadlines
	})
	defer client.Close()
	users, err := region.New("users", region.Config{
		Backend:    redis.New(client, redis.Config{Prefix: "app"}),
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
	b, err := backend.Open("redis://127.0.0.1:6379/0?prefix=app&lease_ttl=30s")
	if err != nil {
		log.Fatal(err) // a mistake in the URL
	}
	if b, ok := b.(*redis.Backend); ok {
		if err := b.Ping(context.Background()); err != nil {
			log.Print("the cache is cold until Redis is back: ", err)
		}
	}
	users, err := region.New("users", region.Config{Backend: b, Expiration: 5 * time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close() // closes the backend, and its client
}
