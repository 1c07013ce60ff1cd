// Package proxy holds wrappers for backends, for Config.Wrap of a region:
//
//	users, err := region.New("users", region.Config{
//		Backend:    redis.New(client, redis.Config{}),
//		Expiration: 5 * time.Minute,
//		Wrap: []func(backend.Backend) backend.Backend{
//			proxy.Logging(proxy.LoggingConfig{Slow: 50 * time.Millisecond}),
//			proxy.Prefix("staging"),
//		},
//	})
//
// They work over every backend, in any order; the first one of Wrap is the outermost.
// Where it makes a difference the wrapper says so. All are safe for concurrent use.
//
// A wrapper that was given a mistake, such as a prefix that cannot be one, says so by a
// method Err, as backends do, and returns that error from every operation instead of
// carrying it out.
//
// A region reads hits of a backend in its own process without asking it, but not through
// a wrapper, which is to see them. There a hit takes about ten times as long, which is
// still less than a microsecond.
//
// What a lease does when it has been granted, such as giving it back, is no operation of
// the backend; no wrapper sees it. Nor is Config.Mutex any concern of theirs.
package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// inner is the backend behind a proxy, with all of its operations. Its optional
// capabilities are hidden but for those that somebody would miss who passes a proxy as
// Config.Backend, where a region looks for them.
type inner struct{ backend.Backend }

// Err returns what is wrong with the configuration of the backend, or nil.
func (in inner) Err() error {
	if checked, ok := in.Backend.(interface{ Err() error }); ok {
		return checked.Err()
	}
	return nil
}

// Now returns the time of the backend's server, as [backend.Clock] does, or this
// process's.
func (in inner) Now() time.Time {
	if clock, ok := in.Backend.(backend.Clock); ok {
		return clock.Now()
	}
	return time.Now()
}

// KeyMangler returns that of the backend, or nil.
func (in inner) KeyMangler() func(string) string {
	if limited, ok := in.Backend.(backend.KeyMangler); ok {
		return limited.KeyMangler()
	}
	return nil
}

var errNoBackend = errors.New("proxy: there is no backend to wrap; pass one")

// around makes a wrapper of what makes a proxy. If there is a mistake, the proxy only
// tells of that.
func around(mistake error, proxy func(inner) backend.Backend) func(backend.Backend) backend.Backend {
	return func(b backend.Backend) backend.Backend {
		switch {
		case b == nil:
			return &broken{err: errNoBackend}
		case mistake != nil:
			return &broken{b, mistake}
		}
		return proxy(inner{b})
	}
}

// settleTime bounds the giving back of leases that nobody will get.
const settleTime = 5 * time.Second

// giveBack releases what an Acquire has been granted that ends with an error, also when
// its context has ended. A lease that cannot be given back expires.
func giveBack(ctx context.Context, grants []backend.Grant) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	for _, g := range grants {
		if g.Lease != nil {
			_ = g.Lease.Release(ctx)
		}
	}
}
