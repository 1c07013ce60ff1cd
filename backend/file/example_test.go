package file_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
	"github.com/dogpile-go/dogpile/region"
)

// A command-line program keeps what it has worked out for its next run, and for those
// that run at the same time.
func ExampleNew() {
	cache, err := os.UserCacheDir()
	if err != nil {
		log.Fatal(err)
	}
	users, err := region.New("users", region.Config{
		Backend:    file.New(filepath.Join(cache, "app"), file.Config{MaxSize: 100 << 20}),
		Expiration: 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	name, err := region.GetOrCreate(context.Background(), users, "42", func(ctx context.Context) (string, error) {
		return "Ann", nil // what takes long
	})
	fmt.Println(name, err)
}

// The backend is a matter of configuration.
func Example_url() {
	b, err := backend.Open("file:///var/cache/app?max_size=100MiB")
	if err != nil {
		log.Fatal(err) // a mistake in the URL
	}
	users, err := region.New("users", region.Config{Backend: b, Expiration: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close() // closes the backend
}
