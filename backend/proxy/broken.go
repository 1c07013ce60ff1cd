package proxy

import (
	"context"

	"github.com/dogpile-go/dogpile/backend"
)

// broken stands where a proxy would, had it not been given a mistake: what was meant to
// be limited, moved or protected is not to go on without that.
type broken struct {
	behind backend.Backend // nil if that is the mistake
	err    error
}

// Err returns the mistake.
func (b *broken) Err() error { return b.err }

func (b *broken) Bytes() bool { return b.behind != nil && b.behind.Bytes() }

func (b *broken) Get(context.Context, backend.Key, []backend.Guard) (backend.Found, error) {
	return backend.Found{}, b.err
}

func (b *broken) GetMulti(context.Context, []backend.Key, []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	return nil, nil, b.err
}

func (b *broken) Acquire(context.Context, []backend.Key, []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	return nil, nil, b.err
}

func (b *broken) Wait(context.Context, []backend.Key) error { return b.err }

func (b *broken) Set(context.Context, []backend.Item, []backend.Guard) ([]backend.Stamps, error) {
	return nil, b.err
}

func (b *broken) Delete(context.Context, []backend.Key) error { return b.err }

func (b *broken) Stamps(context.Context, []backend.Guard) ([]backend.Stamps, error) {
	return nil, b.err
}

func (b *broken) Renew(context.Context, []backend.Guard, bool) error { return b.err }

func (b *broken) Close() error {
	if b.behind == nil {
		return nil
	}
	return b.behind.Close()
}
