// Polyglot is a program in Go that shares its cache, and the locks behind which values are
// created, with one in Python that uses dogpile.cache. It needs a Redis server:
//
//	go run -C examples ./polyglot 42
//
// The same in Python, from Debian's packages python3-dogpile.cache and python3-redis:
//
//	python3 examples/polyglot/app.py 42
//
// Whichever is run first loads the user, and both say so. With -slow 5s, or --slow 5, in
// two terminals at the same time, one waits for the other. With -forget, or --forget,
// either of them deletes what both have.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/codec/dogpilepy"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// User is what both programs store, as JSON.
type User struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	LoadedBy string `json:"loaded_by"`
}

// users is a region of two languages. queries.py has the other half of it.
type users struct {
	region *region.Region
	user   *decorate.Func[int64, User]
}

// open configures the region as queries.py does: the same expiration, JSON, no mangler.
func open(url string, slow time.Duration) (*users, error) {
	b, err := backend.Open(url)
	if err != nil {
		return nil, err
	}
	r, err := region.New("users", region.Config{
		Backend:    b,
		Expiration: 5 * time.Minute,
		StaleFor:   55 * time.Minute, // together, Python's redis_expiration_time
		Interop:    dogpilepy.Format,
	})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	load := func(ctx context.Context, id int64) (User, error) {
		select {
		case <-time.After(slow): // the query
			return User{ID: id, Name: fmt.Sprint("user ", id), LoadedBy: "Go"}, nil
		case <-ctx.Done():
			return User{}, context.Cause(ctx)
		}
	}
	// The keys that dogpile.cache makes for the function load_user of the module queries.
	keys := region.WithKeyForm(dogpilepy.Function("queries:load_user", ""))
	return &users{r, decorate.CacheOnArguments(r, load, keys)}, nil
}

func main() {
	url := flag.String("url", "redis://127.0.0.1:6379/0", "the `server` that both share")
	slow := flag.Duration("slow", 0, "how long it takes to load a user")
	forget := flag.Bool("forget", false, "delete the user from the cache")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *url, *slow, *forget, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

// run looks up the users with ids, or forgets them.
func run(ctx context.Context, out io.Writer, url string, slow time.Duration, forget bool, ids []string) (err error) {
	u, err := open(url, slow)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.region.Close()) }()
	for _, text := range ids {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not the number of a user", text)
		}
		if forget {
			if err := u.user.Invalidate(ctx, id); err != nil {
				return err
			}
			fmt.Fprintf(out, "Go forgets user %d\n", id)
			continue
		}
		user, err := u.user.Call(ctx, id)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "Go has %s, loaded by %s\n", user.Name, user.LoadedBy)
	}
	return nil
}
