package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"
	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/lock"
)

const (
	// releaseTime is how long a Release waits for the server. What it did not
	// manage is tried again in the background.
	releaseTime = time.Second

	// width is how many leases are renewed or released at once: redislock takes a
	// round trip for each.
	width = 16
)

// TryAcquire is TryAcquire of [lock.Locker]. It takes one round trip. Its errors
// beside [lock.ErrHeld] and [lock.ErrClosed] are [ErrConfig], [ErrAuth],
// [ErrNotAllowed], [ErrForeign], the cause of ctx, and those of the server and of the
// network. After an error nothing is held for longer than it takes to reach the
// server again.
func (l *Locker) TryAcquire(ctx context.Context, key string) (lock.Lease, error) {
	ctx, leave, err := l.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	// A lease that is taken before it is known whether this process can be seen
	// to be alive could not be taken over when it dies.
	l.member.Settle(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	lease := l.member.Ask(ctx, key, l.nameOf(key))
	if lease == nil {
		return nil, lock.ErrClosed
	}
	left, err := l.run(ctx,
		func(ctx context.Context) error { return l.obtain(ctx, lease) },
		func(err error) {
			// What gave it back before may have overtaken the attempt.
			if !errors.Is(err, redislock.ErrNotObtained) {
				l.giveBack(lease)
			}
		})
	switch {
	case left:
		lease.Abandon()
		return nil, err
	case err == nil && lease.Granted():
		return lease, nil
	case err == nil:
		l.giveBack(lease)
		return nil, lock.ErrClosed
	case errors.Is(err, redislock.ErrNotObtained):
		lease.Refused("") // redislock does not tell whose it is
		return nil, lock.ErrHeld
	}
	lease.Abandon()
	if l.ending.Err() != nil {
		l.giveBack(lease) // nobody else does it any more
	}
	return nil, err
}

// obtain asks the server for a lease. If the connection breaks, nobody knows whether
// it was granted; asking again with the same token is right in either case.
func (l *Locker) obtain(ctx context.Context, lease *fleet.Lease) error {
	return twice(ctx, func() error {
		held, err := l.locks.Obtain(ctx, lease.Lock(), l.ttl, &redislock.Options{Token: lease.Token(), RetryStrategy: redislock.NoRetry()})
		switch {
		case err == nil:
			l.mu.Lock()
			defer l.mu.Unlock()
			lease.Handle = held
			return nil
		case strings.HasPrefix(err.Error(), "WRONGTYPE"):
			return fmt.Errorf("%w: %.200q: %w", ErrForeign, lease.Lock(), err)
		}
		return err
	})
}

// giveBack frees a lock that may have been taken for lease.
func (l *Locker) giveBack(lease *fleet.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
	defer cancel()
	_ = l.release(ctx, []*fleet.Lease{lease}) // what is left expires
}

// held returns what redislock has granted for lease, or nil if its answer is not
// known. Close releases leases that are being asked for, hence the mutex.
func (l *Locker) held(lease *fleet.Lease) *redislock.Lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, _ := lease.Handle.(*redislock.Lock)
	return held
}

// refresh is Refresh of [fleet.Config].
func (l *Locker) refresh(ctx context.Context, leases []*fleet.Lease) []error {
	return l.each(ctx, leases, func(ctx context.Context, lease *fleet.Lease) error {
		err := l.held(lease).Refresh(ctx, l.ttl, nil)
		if errors.Is(err, redislock.ErrNotObtained) {
			return fleet.ErrGone
		}
		return err
	})
}

// release is Release of [fleet.Config].
func (l *Locker) release(ctx context.Context, leases []*fleet.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	outcomes := l.each(ctx, leases, func(ctx context.Context, lease *fleet.Lease) error {
		held := l.held(lease)
		if held == nil {
			return releaseScript.Run(ctx, l.client, []string{lease.Lock()}, lease.Token()).Err()
		}
		if err := held.Release(ctx); !errors.Is(err, redislock.ErrLockNotHeld) {
			return err
		}
		return nil
	})
	return errors.Join(outcomes...)
}

// releaseScript frees a lock that may have been taken under this token. redislock
// releases only what it knows to have obtained, and obtaining it first would take
// away the lock from others for a moment.
var releaseScript = goredis.NewScript(`
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
	redis.call('DEL', KEYS[1])
end
return 1`)

// each calls f for every lease, some at a time, and returns what came of each when
// all have returned or ctx has ended.
func (l *Locker) each(ctx context.Context, leases []*fleet.Lease, f func(context.Context, *fleet.Lease) error) []error {
	outcomes := make([]error, len(leases))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(width, len(leases)) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(leases)); i = next.Add(1) - 1 {
				_, outcomes[i] = l.run(ctx, func(ctx context.Context) error { return f(ctx, leases[i]) }, nil)
			}
		})
	}
	all.Wait()
	return outcomes
}
