package redis

import (
	"context"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

const (
	// writeRoom is how many bytes are sent in one batch, where every command
	// counts for commandSize: a thousand small ones. A server that is busy with
	// more does not answer others in time.
	writeRoom   = 256 << 10
	commandSize = 256

	// deleteSize is how many values one script deletes.
	deleteSize = 300

	// writeWidth is how many batches of writes are under way at once.
	writeWidth = 2
)

// write is what one call wants to have sent.
type write struct {
	fill  func(*redisio.Batch) // adds its commands, for each attempt anew
	bytes int                  // how much that is
}

// send runs what fill adds in one round trip, together with what others send at the
// same time. Keys of a cluster that are on their way from one server to another are
// waited for as long as for an answer.
func (b *Backend) send(ctx context.Context, lock string, bytes int, fill func(*redisio.Batch)) error {
	if !b.client.Cluster() {
		return b.sendOnce(ctx, lock, bytes, fill)
	}
	began, pause := time.Now(), firstPause
	for {
		var sent []*redisio.Call
		err := b.sendOnce(ctx, lock, bytes, func(batch *redisio.Batch) {
			n := batch.Len()
			fill(batch)
			sent = batch.From(n)
		})
		if err != nil || !slices.ContainsFunc(sent, (*redisio.Call).Moving) || time.Since(began) > b.client.Answers() {
			return err
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// firstPause and lastPause are the times between two attempts at keys on their way.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 50 * time.Millisecond
)

func (b *Backend) sendOnce(ctx context.Context, lock string, bytes int, fill func(*redisio.Batch)) error {
	l := laneOf(b, b.writes, b.client.NodeOf(ctx, lock), func() *lane[*write] {
		return &lane[*write]{
			run:   b.runWrites,
			size:  func(w *write) int { return w.bytes },
			room:  writeRoom,
			width: writeWidth,
			most:  mostWidth,
			slack: slack,
			limit: b.client.Longest(),
			spawn: b.spawn,
		}
	})
	return b.failed(l.do(ctx, &write{fill, bytes}))
}

// runWrites sends a batch, and a second one with what the writes then want to have sent
// if the first was not answered: it is known then what has become of them, unless the
// server hangs.
func (b *Backend) runWrites(ctx context.Context, writes []*write) error {
	for tries := 1; ; tries++ {
		batch := b.client.Batch()
		batch.Once = true
		for _, w := range writes {
			w.fill(batch)
		}
		err := batch.Exec(ctx)
		if err == nil || tries == 2 || !redisio.Broken(err) && !redisio.Late(err) {
			return err
		}
	}
}

// Delete is Delete of [backend.Backend].
func (b *Backend) Delete(ctx context.Context, keys []backend.Key) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if len(keys) == 0 {
		return nil
	}
	keys = slices.Clone(keys)
	var calls []*redisio.Call
	err := b.send(ctx, b.names.lockOf(keys[0]), len(keys)*commandSize, func(batch *redisio.Batch) {
		calls = nil // those of an attempt before were not answered
		most := deleteSize
		if b.client.Cluster() {
			most = 1
		}
		for some := range slices.Chunk(keys, most) {
			names := make([]string, 0, 3*len(some))
			for _, key := range some {
				names = append(names, b.names.lockOf(key), b.names.valueOf(key), b.names.noteOf(key))
			}
			calls = append(calls, batch.Eval(deleteScript, names, noteFor.Milliseconds()))
		}
	})
	if err != nil {
		return err
	}
	return b.firstError(ctx, calls)
}

// firstError returns the first answer that is an error.
func (b *Backend) firstError(ctx context.Context, calls []*redisio.Call) error {
	for _, call := range calls {
		if _, err := call.Value(); err != nil {
			return b.explained(ctx, err)
		}
	}
	return nil
}

func (b *Backend) explained(ctx context.Context, err error) error {
	return redisio.Explain(ctx, err)
}
