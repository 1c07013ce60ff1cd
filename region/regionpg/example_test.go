package regionpg_test

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionpg"
)

// A service whose database says what changes. The trigger that says it is in the
// package's documentation.
func Example() {
	users, err := region.New("users", region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	source, err := regionpg.Listen(ctx, regionpg.Config{URL: os.Getenv("DATABASE_URL"), Channel: "cache"})
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	inv, err := region.NewInvalidator(users)
	if err != nil {
		log.Fatal(err)
	}
	go inv.Run(context.Background(), source.Notices()) // ends when source is closed

	// From here on what is read is invalidated when it changes.
}
