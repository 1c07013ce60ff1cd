package region

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dogpile-go/dogpile/internal/argkey"
)

// Bound is a function bound to a region: what [Cached] and package decorate are
// made of. P is the function's argument, or [Args2], [Args3] or [Args4] where there
// are more, or [Args0].
//
// It is made by Bind0 to Bind4. What is wrong with the binding is returned by
// every method, so that wrappers can be package variables. All methods are safe
// for concurrent use.
type Bound[P, V any] struct {
	region *Region
	fn     func(context.Context, P) (V, error)
	err    error // why nothing works

	// The options, by what they are for.
	forCall []CallOption
	forGet  []GetOption
	forSet  []SetOption

	claim   *claimant              // nil with WithKey and WithKeyForm, which have no key space
	claimed atomic.Pointer[claims] // where claim was granted

	tagsOf   func(P) []string // WithTagsFunc; nil: none
	function string           // the guard of all its values; empty if they have none
	fixed    []string         // the tags that every value has, by the names of their guards
	plain    bool             // a call asks for nothing but the value, with its fixed tags

	open   string // namespace and "("
	encode argkey.Encoder[P]
	key    func(P) (string, error) // WithKey and WithKeyForm; nil: open, the encoded arguments, ")"
}

// bind makes a Bound of a function that was given as original and takes its
// arguments as one.
func bind[P, V any](r *Region, isNil bool, original any, fn func(context.Context, P) (V, error), opts []Option,
	encoder func() (argkey.Encoder[P], error), list func(P) []any, keyOf func(any) (func(P) string, bool), tagsOf func(any) (func(P) []string, bool)) *Bound[P, V] {

	b := &Bound[P, V]{region: r, fn: fn}
	b.err = b.configure(isNil, original, opts, encoder, list, keyOf, tagsOf)
	if b.function != "" {
		opts = append([]Option{guardsOption{b.function}}, opts...)
	}
	b.forCall, b.forGet, b.forSet = only[CallOption](opts), only[GetOption](opts), only[SetOption](opts)
	b.plain = b.tagsOf == nil && !slices.ContainsFunc(b.forCall, func(o CallOption) bool {
		switch o.(type) {
		case TagsOption, guardsOption:
			return false
		}
		return true
	})
	if s, err := collect(b.forCall, reflect.TypeFor[V]()); err == nil {
		b.fixed = s.tags
	}
	return b
}

func (b *Bound[P, V]) configure(isNil bool, original any, opts []Option, encoder func() (argkey.Encoder[P], error), list func(P) []any, keyOf func(any) (func(P) string, bool), tagsOf func(any) (func(P) []string, bool)) error {
	switch {
	case b.region == nil, checkName(b.region.name) != nil:
		return b.region.notUsable()
	case isNil:
		return b.region.fail(ErrNilCreator)
	}
	s, err := collect(opts, reflect.TypeFor[V]())
	if err != nil {
		return b.region.fail(err)
	}
	if s.tagsOf != nil {
		tags, ok := tagsOf(s.tagsOf)
		if !ok {
			return b.region.fail(fmt.Errorf("%w: WithTagsFunc needs a function of the same arguments without the context that returns a []string, not %T", ErrConfig, s.tagsOf))
		}
		b.tagsOf = tags
	}
	if s.key != nil {
		key, ok := keyOf(s.key)
		if !ok {
			return b.region.fail(fmt.Errorf("%w: WithKey needs a function of the same arguments without the context that returns a string, not %T", ErrConfig, s.key))
		}
		b.key = func(p P) (string, error) { return key(p), nil }
	}
	if s.form != nil {
		if s.key != nil {
			return b.region.fail(fmt.Errorf("%w: WithKey and WithKeyForm both make the whole key; leave one of them out", ErrConfig))
		}
		b.key = func(p P) (string, error) {
			key, err := s.form(list(p)...)
			if err != nil {
				return "", b.region.fail(fmt.Errorf("%w: the arguments cannot be part of a key: %w", ErrConfig, err))
			}
			return key, nil
		}
	}
	if b.key != nil {
		if s.namespace != "" {
			return b.region.fail(fmt.Errorf("%w: WithKey and WithKeyForm make the whole key, so that Namespace(%q) would do nothing", ErrConfig, s.namespace))
		}
		return nil
	}
	if b.encode, err = encoder(); err != nil {
		return b.region.fail(fmt.Errorf("%w: %w", ErrConfig, err))
	}
	name, nameErr := argkey.Name(original)
	namespace := s.namespace
	if namespace == "" {
		if nameErr != nil {
			return b.region.fail(fmt.Errorf("%w: the function wrapped at %s: %w", ErrConfig, wrappedAt(), nameErr))
		}
		namespace = name
	}
	if nameErr != nil {
		name = "a function literal"
	}
	b.claim = &claimant{namespace: namespace, who: fmt.Sprintf("%s (wrapped at %s)", name, wrappedAt())}
	b.open = namespace + "("
	if !s.alone {
		b.function = guardTag(functionMark, namespace)
	}
	return nil
}

// buffers hold keys while they are put together and looked up, so that a hit
// allocates nothing.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 128); return &b }}

// putBack returns a buffer that has grown into key.
func putBack(buf *[]byte, key []byte) {
	const largest = 4 << 10 // keeps one huge key from staying in memory for ever
	if cap(key) <= largest {
		*buf = key
		buffers.Put(buf)
	}
}

// Call returns the function's value for p, from the region if it is there: it is
// [GetOrCreate] with the function as creator.
func (b *Bound[P, V]) Call(ctx context.Context, p P) (V, error) {
	if st := b.granted(); st != nil && st.local != nil && b.plain && !b.region.mayReenter(ctx) {
		buf := buffers.Get().(*[]byte)
		key, err := b.appendKey((*buf)[:0], p)
		var hit *V
		if err == nil {
			hit, _ = st.peekBytes(key, b.fixed).(*V)
		}
		putBack(buf, key)
		if hit != nil {
			b.region.counters.hits.Add(1)
			return *hit, nil
		}
	}
	return b.call(ctx, p, b.forCall)
}

// granted returns the region's configuration, if there is one in which the function
// has its key space.
func (b *Bound[P, V]) granted() *state {
	claims := b.claimed.Load()
	if claims == nil {
		return nil
	}
	if st := b.region.state.Load(); st != nil && st.claims == claims {
		return st
	}
	return nil
}

// call is Call for what is not found in passing.
func (b *Bound[P, V]) call(ctx context.Context, p P, opts []CallOption) (V, error) {
	return b.callAs(ctx, p, b.fn, opts)
}

// callAs is call with something in the function's place.
func (b *Bound[P, V]) callAs(ctx context.Context, p P, fn func(context.Context, P) (V, error), opts []CallOption) (value V, err error) {
	key, err := b.Key(p)
	if err != nil {
		return value, err
	}
	if b.tagsOf != nil {
		opts = append(slices.Clip(opts), guardsOption(guardTags(b.tagsOf(p))))
	}
	return getOrCreate[V](ctx, b.region, key, func() maker {
		return makerOf(func(ctx context.Context) (V, error) { return fn(ctx, p) })
	}, opts)
}

func (b *Bound[P, V]) appendKey(dst []byte, p P) ([]byte, error) {
	dst = append(dst, b.open...)
	dst, err := b.encode(dst, p)
	return append(dst, ')'), err
}

// Key returns the key of p in the region. The error wraps [ErrConfig] if the
// function could not be bound or an argument cannot be part of a key.
func (b *Bound[P, V]) Key(p P) (string, error) {
	if b.err != nil {
		return "", b.err
	}
	if b.key != nil {
		return b.key(p)
	}
	if err := b.claimSpace(); err != nil {
		return "", err
	}
	buf := buffers.Get().(*[]byte)
	text, err := b.appendKey((*buf)[:0], p)
	key := string(text)
	putBack(buf, text)
	if err != nil {
		return "", b.region.fail(fmt.Errorf("%w: %s…): %w", ErrConfig, b.open, err))
	}
	return key, nil
}

// claimSpace makes sure that the function has its key space to itself.
func (b *Bound[P, V]) claimSpace() error {
	if st := b.region.state.Load(); st != nil && b.claim != nil && st.claims != b.claimed.Load() {
		if err := st.claims.take(b.claim); err != nil {
			return b.region.fail(err)
		}
		b.claimed.Store(st.claims)
	}
	return nil
}

// Get returns the fresh value for p, as [Get] does, by the expiration that the
// function was bound with.
func (b *Bound[P, V]) Get(ctx context.Context, p P) (value V, ok bool, err error) {
	key, err := b.Key(p)
	if err != nil {
		return value, false, err
	}
	opts := b.forGet
	if b.tagsOf != nil {
		opts = append(slices.Clip(opts), guardsOption(guardTags(b.tagsOf(p))))
	}
	found, err := get(ctx, b.region, key, typeOf[V](), opts)
	if got, ok := found.(*V); ok {
		return *got, true, nil
	}
	return value, false, err
}

// Set stores value for p, as [Set] does.
func (b *Bound[P, V]) Set(ctx context.Context, p P, value V) error {
	key, err := b.Key(p)
	if err != nil {
		return err
	}
	opts := b.forSet
	if b.tagsOf != nil {
		opts = append(slices.Clip(opts), guardsOption(guardTags(b.tagsOf(p))))
	}
	return setMulti(ctx, b.region, map[string]any{key: &value}, typeOf[V](), opts)
}

// Invalidate removes the value for p, as [Region.Delete] does.
func (b *Bound[P, V]) Invalidate(ctx context.Context, p P) error {
	key, err := b.Key(p)
	if err != nil {
		return err
	}
	return b.region.Delete(ctx, key)
}

// InvalidateAll makes all values of the function dead that were created before it was
// called, as [Region.Invalidate] does for the region: in one round trip, however many
// there are. Other programs that share them have to wrap the function with package decorate,
// too: what [Cached] stores lacks the function's stamps, and is created anew here.
//
// With [WithKey] or [WithKeyForm] it returns an error that wraps [ErrConfig]: the keys are
// then not the function's own. Give the function [WithTags], and use
// [Region.InvalidateTags]. With Config.Interop it returns [ErrInterop].
func (b *Bound[P, V]) InvalidateAll(ctx context.Context) error {
	switch {
	case b.err != nil:
		return b.err
	case b.function == "":
		if st := b.region.state.Load(); st != nil && st.Interop != nil {
			return b.region.fail(noStamps(st.Interop.Name()))
		}
		return b.region.fail(fmt.Errorf("%w: the keys of a function with WithKey or WithKeyForm are not its own; give it WithTags and invalidate the tag", ErrConfig))
	}
	return b.region.invalidate(ctx, order{function: b.function}, InvalidationEvent{Function: b.claim.namespace, Mode: Hard})
}

// Refresh calls the function and stores and returns its value, whatever is stored
// now. Callers who want the same at the same time share one call that begins after
// all of them have come.
func (b *Bound[P, V]) Refresh(ctx context.Context, p P) (V, error) {
	return b.call(ctx, p, append(slices.Clip(b.forCall), refreshOption{}))
}

// refreshOption finds nothing good enough, but keeps what is created for as long
// as without it.
type refreshOption struct{}

func (refreshOption) set(s *settings) { s.refresh = true }
func (refreshOption) forCall()        {}

// only returns the options that are of one kind.
func only[O Option](opts []Option) []O {
	var some []O
	for _, o := range opts {
		if o, ok := o.(O); ok {
			some = append(some, o)
		}
	}
	return some
}
