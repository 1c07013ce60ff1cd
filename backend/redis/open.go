package redis

import (
	"fmt"
	"net/url"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redisurl"
)

func init() {
	for _, scheme := range []string{"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"} {
		if err := backend.Register(scheme, openURL); err != nil {
			panic(err) // two packages for one scheme: a bug of the program's build
		}
	}
}

// openURL opens a backend of its own client, which it closes. Nothing is connected
// to yet.
func openURL(u *url.URL) (backend.Backend, error) {
	opened, err := redisurl.Open(u)
	if err != nil {
		return nil, err
	}
	b := open(opened.Client, Config{Prefix: opened.Prefix, LeaseTTL: opened.LeaseTTL}, true)
	if err := b.Err(); err != nil {
		_ = opened.Client.Close() // it has not connected to anything
		return nil, fmt.Errorf("%s: %w", u.Scheme, err)
	}
	return b, nil
}
