package redis

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

// errLate is the error of what reaches the server too late again and again.
var errLate = errors.New("redis: the command reached the server too late and was not carried out; the server is overloaded, or its clock jumps")

// until returns the moment, in microseconds of the clock of the server node, at which
// whoever sends a command now gives up on its answer. A command that reaches the server
// later must not be executed: it may have been sent again, and others have seen its
// effect and undone it.
func (b *Backend) until(node string) int64 {
	return b.Now().Add(b.skew(node) + b.client.Answers()).UnixMicro()
}

// skew returns how far the clock of a server is ahead of what Now tells, as far as that
// is known: the servers of a cluster have a clock each.
func (b *Backend) skew(node string) time.Duration {
	skew, _ := b.skews.Load(node)
	d, _ := skew.(time.Duration)
	return d
}

// inTime reports whether no server has got its script too late, and otherwise notes
// what its clock shows, so that it can be sent again. locks are what the scripts of
// calls are about.
func (b *Backend) inTime(ctx context.Context, locks []string, calls []*redisio.Call) bool {
	good := true
	for i, call := range calls {
		if call == nil {
			continue
		}
		if at, late := lateAt(call); late {
			good = false
			b.skews.Store(b.client.NodeOf(ctx, locks[i]), at.Sub(b.Now()))
		}
	}
	return good
}

// storeLate sends again what came too late: because a first answer was lost, or the
// server's clock differs.
func (b *Backend) storeLate(ctx context.Context, items []backend.Item, calls []*redisio.Call) error {
	locks := make([]string, len(items))
	for i := range items {
		locks[i] = b.names.lockOf(items[i].Key)
	}
	if b.inTime(ctx, locks, calls) {
		return nil
	}
	again := slices.Clone(calls)
	err := b.send(ctx, locks[0], 0, func(batch *redisio.Batch) {
		for i, call := range again {
			if call == nil {
				continue
			}
			if _, late := lateAt(call); late {
				calls[i] = b.store(ctx, batch, &items[i])
			}
		}
	})
	if err != nil {
		return err
	}
	for i, call := range calls {
		if call == nil {
			continue
		}
		if _, late := lateAt(call); late {
			items[i].Err = errLate
		}
	}
	return nil
}
