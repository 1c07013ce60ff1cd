package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// The stamps of a tag are needed as long as a value may be alive that carries them.
// Until when that is, Set notes as the modification time of their file, before it stores
// the value. A sweep removes them some time later, when nothing is left that they could
// be compared with, so removing them cannot even make a miss. Stamps that no Set has ever
// noted have the time at which they were made.
//
// The note is not made to last: if the power fails, stamps may be removed too early,
// which only invalidates.
const (
	// tagSlack is how long the stamps of a tag are kept after the time that is noted:
	// for creators that are still at work, and for clocks that are set.
	tagSlack = time.Hour

	// forEver is for how long they are kept for values that have no TTL, after such a
	// value was stored. Some file systems end in 2038, and note that.
	forEver = 100 * 365 * 24 * time.Hour

	// ahead is the part of a TTL by which more is noted than is needed, so that what is
	// stored again and again does not have it noted each time.
	ahead = 8

	leastAhead, mostAhead = time.Minute, 24 * time.Hour
)

// keepFor notes that the stamps of tags are needed for as long as items are kept.
func (b *Backend) keepFor(ctx context.Context, all []stamping, items []backend.Item) error {
	var longest time.Duration
	for i := range items {
		switch item := &items[i]; {
		case item.Entry == nil || item.TTL < 0:
		case item.TTL == 0:
			longest = forEver
		default:
			longest = max(longest, min(item.TTL, forEver))
		}
	}
	if longest == 0 {
		return nil
	}
	now := time.Now()
	return b.keep(ctx, all, now.Add(longest), now.Add(longest+min(max(longest/ahead, leastAhead), mostAhead)))
}

// keep notes that the stamps of those of all that are tags are needed until some time,
// unless it is noted already that they are needed until enough. It never notes less than
// there is, and takes no lock if all is noted.
func (b *Backend) keep(ctx context.Context, all []stamping, enough, until time.Time) error {
	if !slices.ContainsFunc(all, stamping.ofTag) {
		return nil
	}
	var short []stamping
	err := b.space.Read(ctx, func() error {
		for _, s := range all {
			if !s.ofTag() {
				continue
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			info, err := os.Lstat(b.pathOf(s))
			if err == nil && info.ModTime().Before(enough) {
				short = append(short, s)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return byFolder(short, func(shard int, places []int) error {
		// Under the lock, or a renewal that takes the note over, or a sweep, might miss it.
		return b.space.Locked(ctx, shard, func() error {
			for _, i := range places {
				path := b.pathOf(short[i])
				info, err := os.Lstat(path)
				if err == nil && info.ModTime().Before(enough) {
					err = os.Chtimes(path, until, until)
				}
				if err != nil && !errors.Is(err, fs.ErrNotExist) { // those that are gone may stay so
					return err
				}
			}
			return nil
		})
	})
}
