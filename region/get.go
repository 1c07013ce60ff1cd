package region

import (
	"context"

	"github.com/dogpile-go/dogpile/backend"
)

// Get returns the fresh value of key. A miss is ok == false and not an error; so
// is a stale value, unless [AllowStale] is passed, and a remembered "not found".
// Get never creates and never waits for a creation.
//
// If the backend fails, the error is its failure and ok is false. The other errors
// are [ErrNotConfigured], [ErrClosed] and [ErrConfig].
func Get[T any](ctx context.Context, r *Region, key string, opts ...GetOption) (value T, ok bool, err error) {
	if len(opts) == 0 {
		if p, ok := r.peek(key).(*T); ok {
			r.counters.hits.Add(1)
			return *p, true, nil
		}
	}
	found, err := get(ctx, r, key, typeOf[T](), opts)
	if p, ok := found.(*T); ok {
		return *p, true, nil
	}
	return value, false, err
}

// GetMulti returns the fresh values of keys, in one round trip. Keys that Get
// would miss are not in the map, which is never nil. The rest is as for Get.
func GetMulti[T any](ctx context.Context, r *Region, keys []string, opts ...GetOption) (map[string]T, error) {
	found, err := getMulti(ctx, r, keys, typeOf[T](), opts)
	return unbox[T](found), err
}

// unbox turns pointers to values into values.
func unbox[T any](boxed map[string]any) map[string]T {
	values := make(map[string]T, len(boxed))
	for key, value := range boxed {
		values[key] = *value.(*T)
	}
	return values
}

// get returns a pointer to the value of key, or nil if there is none that will do.
func get(ctx context.Context, r *Region, key string, vt *valueType, opts []GetOption) (any, error) {
	st, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer st.leave()
	a := asks{valueType: vt}
	if a.settings, err = resolved(st, opts, vt.typ); err != nil {
		return nil, r.fail(err)
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()

	s, err := st.look(ctx, &a, key)
	if err != nil {
		return nil, st.readFailed(ctx, key, err)
	}
	return r.take(&a, s), nil
}

func getMulti(ctx context.Context, r *Region, keys []string, vt *valueType, opts []GetOption) (map[string]any, error) {
	st, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer st.leave()
	a := asks{valueType: vt}
	if a.settings, err = resolved(st, opts, vt.typ); err == nil {
		err = a.checkTags(keys)
	}
	if err != nil {
		return nil, r.fail(err)
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()

	keys = unique(keys)
	sights, err := st.lookMulti(ctx, &a, keys)
	if err != nil {
		return nil, err
	}
	found := make(map[string]any, len(keys))
	for i, s := range sights {
		if value := r.take(&a, s); value != nil {
			found[keys[i]] = value
		}
	}
	return found, nil
}

// take counts a read that does not create, and returns what it may return: a
// pointer to the value, or nil.
func (r *Region) take(a *asks, s sight) any {
	switch {
	case s.notFound || s.verdict <= dead:
	case s.verdict == fresh:
		r.counters.hits.Add(1)
		return s.value
	case a.allowStale:
		r.counters.staleHits.Add(1)
		return s.value
	}
	r.counters.misses.Add(1)
	return nil
}

// lookMulti reads keys in one round trip, and their variants in another. A failure of the backend is counted,
// told, and returned with the region's name.
func (st *state) lookMulti(ctx context.Context, a *asks, keys []string) ([]sight, error) {
	switch len(keys) {
	case 0:
		return nil, nil
	case 1:
		s, err := st.look(ctx, a, keys[0])
		if err != nil {
			return nil, st.readFailed(ctx, keys[0], err)
		}
		return []sight{s}, nil
	}
	glances, err := st.glanceMulti(ctx, a, keys)
	if err != nil {
		return nil, st.readFailed(ctx, keys[0], err)
	}
	sights := make([]sight, len(keys))
	for i := range glances {
		sights[i] = st.judge(a, keys[i], &glances[i])
	}
	if err := st.lookForVariants(ctx, a, keys, sights); err != nil {
		return nil, st.readFailed(ctx, keys[0], err)
	}
	return sights, nil
}

// readFailed makes the error of a failed read. One that failed because the
// caller's context ended is no failure of the backend.
func (st *state) readFailed(ctx context.Context, key string, err error) error {
	if ctx.Err() != nil {
		return st.region.failKey(key, ended(ctx))
	}
	st.failed("get", key, err)
	return st.region.failKey(key, err)
}

// keys puts names into the region.
func (st *state) keys(names []string) []backend.Key {
	keys := make([]backend.Key, len(names))
	for i, name := range names {
		keys[i] = st.key(name)
	}
	return keys
}

func (st *state) key(name string) backend.Key {
	return backend.Key{Region: st.region.name, Name: name}
}

// unique returns keys in their order, each once. It returns keys itself if none
// stands there twice.
func unique(keys []string) []string {
	if len(keys) < 2 {
		return keys
	}
	seen := make(map[string]struct{}, len(keys))
	var once []string
	for i, key := range keys {
		if _, again := seen[key]; again {
			if once == nil {
				once = append(make([]string, 0, len(keys)), keys[:i]...)
			}
			continue
		}
		seen[key] = struct{}{}
		if once != nil {
			once = append(once, key)
		}
	}
	if once == nil {
		return keys
	}
	return once
}
