package region

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dogpile-go/dogpile/internal/warming"
)

// Warming is how package decorate warms the function; see its Warm. It is of no other
// use.
func (b *Bound[P, V]) Warming() warming.Source[P] { return warmOne[P, V]{b} }

// Warming is how package decorate warms the function; see its Warm. It is of no other
// use.
func (b *BoundMulti[K, V]) Warming() warming.Source[K] { return warmMany[K, V]{b} }

// freshOption takes what is stale for dead, so that a call waits for a fresh value,
// whoever creates it and whatever Config.Refresh says.
type freshOption struct{}

func (freshOption) set(s *settings) { s.freshOnly = true }
func (freshOption) forCall()        {}

// warmOne warms a function of one value.
type warmOne[P, V any] struct{ b *Bound[P, V] }

func (w warmOne[P, V]) Key(p P) (string, error)                    { return w.b.Key(p) }
func (w warmOne[P, V]) Batch() bool                                { return false }
func (w warmOne[P, V]) Turn(name string) (t warming.Turn, e error) { return w.b.turn(name) }

func (w warmOne[P, V]) Look(ctx context.Context, items []warming.Item[P]) ([]bool, error) {
	return w.b.lookAt(ctx, items)
}

func (w warmOne[P, V]) Create(ctx context.Context, items []warming.Item[P]) []warming.Result {
	results := make([]warming.Result, len(items))
	for i := range items {
		results[i] = w.create(ctx, &items[i])
	}
	return results
}

func (w warmOne[P, V]) create(ctx context.Context, item *warming.Item[P]) (result warming.Result) {
	// A creator's panic is caught elsewhere, but tags and keys are the user's, too.
	defer func() {
		if v := recover(); v != nil {
			result.Err = w.b.region.failKey(item.Key, &PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	var ran atomic.Bool
	_, err := w.b.callAs(ctx, item.Arg, func(ctx context.Context, p P) (V, error) {
		ran.Store(true)
		return w.b.fn(ctx, p)
	}, append(slices.Clip(w.b.forCall), freshOption{}))
	switch {
	case errors.Is(err, ErrNotFound):
		return warming.Result{Outcome: warming.NotFound}
	case err != nil:
		return warming.Result{Err: err}
	case !ran.Load():
		return warming.Result{Outcome: warming.Present}
	}
	return warming.Result{Outcome: warming.Created}
}

// warmMany warms a function of many values.
type warmMany[K comparable, V any] struct{ b *BoundMulti[K, V] }

func (w warmMany[K, V]) Key(id K) (string, error)                   { return w.b.one.Key(id) }
func (w warmMany[K, V]) Batch() bool                                { return true }
func (w warmMany[K, V]) Turn(name string) (t warming.Turn, e error) { return w.b.one.turn(name) }

func (w warmMany[K, V]) Look(ctx context.Context, items []warming.Item[K]) ([]bool, error) {
	return w.b.one.lookAt(ctx, items)
}

func (w warmMany[K, V]) Create(ctx context.Context, items []warming.Item[K]) (results []warming.Result) {
	results = make([]warming.Result, len(items))
	defer func() {
		if v := recover(); v != nil {
			err := w.b.one.region.fail(&PanicError{Value: v, Stack: debug.Stack()})
			for i := range results {
				results[i] = warming.Result{Err: err}
			}
		}
	}()
	ids := make([]K, len(items))
	for i := range items {
		ids[i] = items[i].Arg
	}
	var mu sync.Mutex
	ran := make(map[string]bool)
	found, _, err := w.b.loadKeyed(ctx, ids, func(keys []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, key := range keys {
			ran[key] = true
		}
	}, append(slices.Clip(w.b.one.forCall), freshOption{}))
	mu.Lock()
	defer mu.Unlock()
	for i := range items {
		_, there := found[items[i].Key]
		switch {
		case there && ran[items[i].Key]:
			results[i].Outcome = warming.Created
		case there:
			results[i].Outcome = warming.Present
		case err != nil:
			results[i].Err = err
		default:
			results[i].Outcome = warming.NotFound
		}
	}
	return results
}

// lookAt looks at many keys for warming.
func (b *Bound[P, V]) lookAt(ctx context.Context, items []warming.Item[P]) ([]bool, error) {
	st, err := b.region.enter()
	if err != nil {
		return nil, err
	}
	defer st.leave()
	if st.Disabled { // it was not when the turn was asked for
		return nil, b.region.fail(fmt.Errorf("%w: it is disabled, and would keep nothing of what is created", ErrConfig))
	}
	a := asks{valueType: typeOf[V]()}
	keys, opts := make([]string, len(items)), b.forGet
	for i := range items {
		keys[i] = items[i].Key
	}
	if b.tagsOf != nil {
		tags := make(map[string][]string, len(items))
		for i := range items {
			tags[items[i].Key] = guardTags(b.tagsOf(items[i].Arg))
		}
		opts = append(slices.Clip(opts), eachOption(func(key string) []string { return tags[key] }))
	}
	if a.settings, err = resolved(st, opts, a.typ); err != nil {
		return nil, b.region.fail(err)
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()
	sights, err := st.lookMulti(ctx, &a, keys)
	if err != nil {
		return nil, err
	}
	is := make([]bool, len(items))
	for i, s := range sights {
		is[i] = s.verdict == fresh
	}
	return is, nil
}

// turn returns the turn of those who warm the function.
func (b *Bound[P, V]) turn(name string) (warming.Turn, error) {
	if b.err != nil {
		return nil, b.err
	}
	namespace := ""
	switch {
	case b.claim != nil:
		namespace = b.claim.namespace
	case name == "":
		return nil, b.region.fail(fmt.Errorf("%w: a function with WithKey or WithKeyForm has no name that its warming could go by; set WarmOptions.Name", ErrConfig))
	}
	if err := b.claimSpace(); err != nil {
		return nil, err
	}
	switch st := b.region.state.Load(); {
	case st == nil:
		return nil, b.region.notUsable()
	case st.Disabled:
		return nil, nil
	}
	return newTurn(b.region, namespace, name), nil
}
