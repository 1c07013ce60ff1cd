package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/dogpile-go/dogpile/backend"
)

// ErrTooLarge is wrapped by the Err of an item that is larger than its [SizeLimit].
var ErrTooLarge = errors.New("proxy: the entry is too large, so it was not stored")

// SizeLimit returns a wrapper that stores no entry of more than limit bytes, counted as
// the backend gets them: encoded, with a header of about a hundred bytes. It protects a
// shared server from the one value that nobody has thought of.
//
// GetOrCreate gives such a value to its callers, tells observers of an UnstoredEvent that
// wraps [ErrTooLarge], and creates it anew for those who come later. Set returns the
// error. What was stored before is left as it was.
//
// A limit that is not positive is a mistake, and so is a backend that keeps Go values,
// which have no length; package memory has bounds of its own.
func SizeLimit(limit int) func(backend.Backend) backend.Backend {
	var mistake error
	if limit <= 0 {
		mistake = fmt.Errorf("proxy: SizeLimit(%d): a limit is a positive number of bytes", limit)
	}
	return around(mistake, func(in inner) backend.Backend {
		if !in.Bytes() {
			return &broken{in.Backend, errors.New("proxy: SizeLimit needs a backend that keeps bytes; for package memory set Config.Copy, or Config.MaxBytes instead")}
		}
		return &limited{in, limit}
	})
}

type limited struct {
	inner
	limit int
}

// Set passes on what is not too large, even if that is nothing, for the stamps. The
// leases of the others stay held, for their holders to give back.
func (l *limited) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	fit := make([]backend.Item, 0, len(items))
	for _, item := range items {
		if !l.exceeded(&item) {
			fit = append(fit, item)
		}
	}
	stamps, err := l.Backend.Set(ctx, fit, guards)
	for i := range items {
		if l.exceeded(&items[i]) {
			items[i].Err = fmt.Errorf("%w: it has %d bytes, and the limit is %d", ErrTooLarge, len(items[i].Entry.Data), l.limit)
			continue
		}
		items[i].Err, fit = fit[0].Err, fit[1:]
	}
	return stamps, err
}

func (l *limited) exceeded(item *backend.Item) bool {
	return item.Entry != nil && len(item.Entry.Data) > l.limit
}
