package redis

import (
	"context"
	"crypto/rand"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

// stampsSize is the length of a guard's two stamps, hard and soft, which are one
// value.
const stampsSize = 24

// Stamps is Stamps of [backend.Backend].
func (b *Backend) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if len(guards) == 0 {
		return nil, nil
	}
	calls := make([]*redisio.Call, len(guards))
	err := b.send(ctx, b.names.stampOf(guards[0]), len(guards)*commandSize, func(batch *redisio.Batch) {
		for i, guard := range guards {
			calls[i] = batch.Do("get", b.names.stampOf(guard))
		}
	})
	if err != nil {
		return nil, err
	}
	values, err := stampValues(calls)
	if err != nil {
		return nil, b.explained(ctx, err)
	}
	return b.completed(ctx, guards, stampsOf(values))
}

// stampValues returns what calls have read. A key of another type holds no stamps.
func stampValues(calls []*redisio.Call) ([]any, error) {
	values := make([]any, len(calls))
	for i, call := range calls {
		value, err := call.Value()
		if err != nil && !isWrongType(err) {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}

// completed creates those of stamps that are absent, which takes another round trip.
func (b *Backend) completed(ctx context.Context, guards []backend.Guard, stamps []backend.Stamps) ([]backend.Stamps, error) {
	var absent []int
	for i, s := range stamps {
		if s.Hard.IsZero() || s.Soft.IsZero() {
			absent = append(absent, i)
		}
	}
	if absent == nil {
		return stamps, nil
	}
	created := make([]*redisio.Call, len(absent))
	err := b.send(ctx, b.names.stampOf(guards[absent[0]]), len(absent)*commandSize, func(batch *redisio.Batch) {
		for i, at := range absent {
			created[i] = batch.Eval(stampScript, []string{b.names.stampOf(guards[at])}, randomness())
		}
	})
	if err != nil {
		return nil, err
	}
	for i, at := range absent {
		value, err := created[i].Value()
		if err != nil {
			return nil, b.explained(ctx, err)
		}
		stamps[at] = stampsOf([]any{value})[0]
	}
	return stamps, nil
}

// Renew is Renew of [backend.Backend].
func (b *Backend) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if len(guards) == 0 {
		return nil
	}
	which := "hard"
	if soft {
		which = "soft"
	}
	calls := make([]*redisio.Call, len(guards))
	err := b.send(ctx, b.names.stampOf(guards[0]), len(guards)*commandSize, func(batch *redisio.Batch) {
		for i, guard := range guards {
			calls[i] = batch.Eval(renewScript, []string{b.names.stampOf(guard)}, randomness(), which)
		}
	})
	if err != nil {
		return err
	}
	return b.firstError(ctx, calls)
}

// randomness returns what the server makes stamps of.
func randomness() string { return rand.Text() }
