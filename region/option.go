package region

import (
	"errors"
	"fmt"
	"reflect"
	"time"
)

// Option changes how one function is wrapped or one call is made. Where an option
// makes no sense it does not compile: a call takes [CallOption], a read
// [GetOption], a write [SetOption], and a wrapper any of them.
type Option interface{ set(*settings) }

// CallOption is an option of GetOrCreate and GetOrCreateMulti.
type CallOption interface {
	Option
	forCall()
}

// GetOption is an option of Get and GetMulti.
type GetOption interface {
	Option
	forGet()
}

// SetOption is an option of Set and SetMulti.
type SetOption interface {
	Option
	forSet()
}

// settings is what the options of one call amount to. Its zero value is a call
// without options.
type settings struct {
	expires      func() time.Duration // nil: the region's expiration applies
	expiration   time.Duration        // what expires said for this call
	hasOwn       bool                 // it has said something
	refresh      bool                 // nothing found is good enough
	freshOnly    bool                 // what is stale counts as dead
	allowStale   bool
	allowMissing bool
	cacheIf      func(value any) bool  // nil: always; value is a *T
	cacheIfType  reflect.Type          // that T
	tags         []string              // of every key, by the names of their guards
	eachTags     func(string) []string // of one key besides; nil: none
	wrong        error                 // an option that makes no sense

	// Of wrappers only.
	namespace string
	key       any // func(arguments…) string
	form      func(args ...any) (string, error)
	tagsOf    any  // func(arguments…) []string
	alone     bool // its values are not invalidated all together
}

// ExpirationOption is an option for calls, reads, writes and wrappers.
type ExpirationOption struct{ of func() time.Duration }

// WithExpiration judges what is found, and keeps what is created, by d instead of
// by the region's expiration, for this call. [Forever] means never expired; 0
// means that nothing found is good enough: a value is created after the call came,
// and kept by the region's expiration. If the value has an expiration of its own
// as well, the shorter one counts. Set gives the value d as its own expiration. A
// negative d, except Forever, makes the call return an error.
func WithExpiration(d time.Duration) ExpirationOption {
	return ExpirationOption{func() time.Duration { return d }}
}

// WithExpirationFunc is WithExpiration with a function that is evaluated at every
// call, and not before.
func WithExpirationFunc(f func() time.Duration) ExpirationOption { return ExpirationOption{f} }

func (o ExpirationOption) set(s *settings) {
	if o.of == nil {
		s.wrong = errors.New("WithExpirationFunc needs a function")
		return
	}
	s.expires = o.of
}
func (ExpirationOption) forCall() {}
func (ExpirationOption) forGet()  {}
func (ExpirationOption) forSet()  {}

// CacheIfOption is an option for calls and wrappers.
type CacheIfOption struct {
	keep  func(any) bool
	typed reflect.Type
}

// CacheIf stores a created value only if keep returns true for it; its callers
// get it all the same, and what was stored before stays. T has to be the type of
// the values; a call for another type returns an error.
func CacheIf[T any](keep func(T) bool) CacheIfOption {
	if keep == nil {
		return CacheIfOption{}
	}
	return CacheIfOption{
		keep:  func(value any) bool { return keep(*value.(*T)) },
		typed: reflect.TypeFor[T](),
	}
}

func (o CacheIfOption) set(s *settings) {
	if o.keep == nil {
		s.wrong = errors.New("CacheIf needs a function")
		return
	}
	s.cacheIf, s.cacheIfType = o.keep, o.typed
}
func (CacheIfOption) forCall() {}

// AllowStaleOption is an option for reads.
type AllowStaleOption struct{}

// AllowStale lets Get and GetMulti return a stale value, which is otherwise a
// miss.
func AllowStale() AllowStaleOption { return AllowStaleOption{} }

func (AllowStaleOption) set(s *settings) { s.allowStale = true }
func (AllowStaleOption) forGet()         {}

// AllowMissingOption is an option for batch calls and wrappers.
type AllowMissingOption struct{}

// AllowMissing says that keys which the creator of a batch leaves out do not
// exist: they are left out of the result and, with Config.NotFoundFor, remembered
// as not found. Without it GetOrCreateMulti returns a [*BatchError].
func AllowMissing() AllowMissingOption { return AllowMissingOption{} }

func (AllowMissingOption) set(s *settings) { s.allowMissing = true }
func (AllowMissingOption) forCall()        {}

// WrapOption is an option for wrappers only.
type WrapOption struct{ apply func(*settings) }

func (o WrapOption) set(s *settings) {
	if o.apply != nil {
		o.apply(s)
	}
}

// Namespace gives the keys of a wrapped function a name of their own, in place of
// the function's. Function literals and second wrappers of one function need it.
// It must not be empty, and no two wrappers in a region may have the same.
func Namespace(name string) WrapOption {
	return WrapOption{func(s *settings) {
		if name == "" {
			s.wrong = errors.New("the Namespace is empty")
		}
		s.namespace = name
	}}
}

// WithKey makes the whole key from the arguments, in place of the namespace and
// the arguments' text. key is a function of the same arguments, without the
// context, that returns a string: func(id int64) string. What it returns is the
// key as Get, Set and Delete know it; that different arguments give different
// keys is up to it.
func WithKey(key any) WrapOption {
	return WrapOption{func(s *settings) {
		if key == nil {
			s.wrong = errors.New("WithKey needs a function")
		}
		s.key = key
	}}
}

// WithKeyForm is [WithKey] for any number of arguments: form is given them in their
// order, and makes the whole key of them. A single argument that is a struct counts as its
// fields, if all of them are exported. Package codec/dogpilepy has forms that make the keys of dogpile.cache's
// decorators. An error of form is that of the call, and wraps [ErrConfig].
func WithKeyForm(form func(args ...any) (string, error)) WrapOption {
	return WrapOption{func(s *settings) {
		if form == nil {
			s.wrong = errors.New("WithKeyForm needs a function")
		}
		s.form = form
	}}
}

// resolve applies the options of a call and checks what they say.
func resolve[O Option](opts []O, typ reflect.Type) (settings, error) {
	s, err := collect(opts, typ)
	if err != nil || s.expires == nil {
		return s, err
	}
	switch s.expiration = s.expires(); {
	case s.expiration == 0:
		s.refresh = true
	case s.expiration < 0 && s.expiration != Forever:
		return s, fmt.Errorf("%w: the expiration of the call is negative (%v)", ErrConfig, s.expiration)
	default:
		s.hasOwn = true
	}
	return s, nil
}

// collect applies options without evaluating anything, because a wrapper is made
// long before it is called.
func collect[O Option](opts []O, typ reflect.Type) (settings, error) {
	if len(opts) == 0 {
		return settings{}, nil // apart, because options move s to the heap
	}
	var s settings
	for _, o := range opts {
		if any(o) == nil {
			return s, fmt.Errorf("%w: an option is nil", ErrConfig)
		}
		o.set(&s)
	}
	if len(s.tags) > MaxTags && s.wrong == nil {
		if n := countTags(s.tags); n > MaxTags {
			s.wrong = tooManyTags(n)
		}
	}
	if s.wrong != nil {
		return s, fmt.Errorf("%w: %w", ErrConfig, s.wrong)
	}
	if s.cacheIf != nil && s.cacheIfType != typ {
		return s, fmt.Errorf("%w: CacheIf is for values of type %v, the call is for %v", ErrConfig, s.cacheIfType, typ)
	}
	return s, nil
}
