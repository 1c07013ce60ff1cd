package backendtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dogpile-go/dogpile/backend"
)

// row is a row of the database behind the hammered cache. Versions count up. floor
// is the version of the last write whose call had returned.
type row struct {
	key            backend.Key
	version, floor atomic.Int64
}

func (r *row) text(version int64) string { return fmt.Sprint(r.key.Name, " ", version) }

// hammer lets creators, one writer for each row and readers loose on few keys. Now and
// then a creator stores again what it found, and somebody ends all leases of a row.
// Whatever a reader finds must be of its own row, and no older than the last write
// or delete that had returned when the read began: a creation that read an older
// version was refused.
func hammer(t *trial) {
	const turns = 150
	rows := make([]*row, 3)
	for i := range rows {
		rows[i] = &row{key: user(fmt.Sprint("row", i))}
	}
	check := func(r *row, floor int64, e *backend.Entry) {
		if e == nil {
			return
		}
		name, number, _ := strings.Cut(says(e), " ")
		version, err := strconv.ParseInt(number, 10, 64)
		switch {
		case err != nil || name != r.key.Name:
			t.Errorf("%s holds %q", brief(r.key), says(e))
		case version < floor:
			t.Errorf("%s holds version %d, but version %d was written before the read began", brief(r.key), version, floor)
		}
	}

	// One that fails ends the others, who may wait for a lease that it still holds.
	ctx, end := context.WithCancelCause(t.ctx)
	defer end(nil)
	failed := func(err error) {
		if ctx.Err() == nil {
			t.Error(err)
			end(err)
		}
	}

	var writers, others sync.WaitGroup
	done := make(chan struct{})
	loop := func(turn func(i int) error) {
		others.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if err := turn(i); err != nil {
					failed(err)
					return
				}
			}
		})
	}
	for i, side := range []backend.Backend{t.a, t.b, t.a, t.b} {
		loop(func(turn int) error { // a creator
			r := rows[(i+turn)%len(rows)]
			floor := r.floor.Load()
			grants, _, err := side.Acquire(ctx, []backend.Key{r.key}, []backend.Guard{region})
			if err != nil {
				return err
			}
			lease := grants[0].Lease
			if lease == nil {
				return side.Wait(ctx, []backend.Key{r.key})
			}
			check(r, floor, grants[0].Entry)
			if turn%7 == 0 {
				return lease.Release(ctx)
			}
			items := []backend.Item{{Key: r.key, Entry: t.entry(r.text(r.version.Load())), Lease: lease}}
			if old := grants[0].Entry; old != nil && turn%2 == 0 {
				items[0].Entry = old
			}
			if _, err := side.Set(ctx, items, nil); err != nil {
				return err
			}
			if err := items[0].Err; err != nil && !errors.Is(err, backend.ErrLeaseLost) {
				return err
			}
			return nil
		})
		loop(func(turn int) error { // a reader
			floors := make([]int64, len(rows))
			keys := make([]backend.Key, len(rows))
			for i, r := range rows {
				floors[i], keys[i] = r.floor.Load(), r.key
			}
			entries, _, err := side.GetMulti(ctx, keys, nil)
			if err != nil {
				return err
			}
			for i, r := range rows {
				check(r, floors[i], entries[i])
			}
			if turn%5 == 0 { // ends the lease, whoever has it
				items := []backend.Item{{Key: rows[turn%len(rows)].key}}
				if _, err := side.Set(ctx, items, nil); err != nil || items[0].Err != nil {
					return errors.Join(err, items[0].Err)
				}
			}
			return side.Renew(ctx, []backend.Guard{region}, turn%2 == 0)
		})
	}
	for i, r := range rows {
		side := t.a
		if i%2 == 1 {
			side = t.b
		}
		writers.Go(func() {
			for turn := range turns {
				version := r.version.Add(1)
				var err error
				if turn%2 == 0 {
					err = side.Delete(ctx, []backend.Key{r.key})
				} else {
					_, err = side.Set(ctx, []backend.Item{{Key: r.key, Entry: t.entry(r.text(version))}}, nil)
				}
				if err != nil {
					failed(err)
					return
				}
				r.floor.Store(version)
				found, err := side.Get(ctx, r.key, nil)
				if err != nil {
					failed(err)
					return
				}
				check(r, version, found.Entry)
			}
		})
	}
	writers.Wait()
	close(done)
	others.Wait()
}
