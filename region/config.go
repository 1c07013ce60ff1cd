package region

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/lock"
)

// Forever, as an expiration, means that a value never expires.
const Forever time.Duration = -1

// NoStale, as Config.StaleFor, means that an expired value is never served.
const NoStale time.Duration = math.MinInt64

// Refresh says what the caller does who has won the creation of a stale value.
type Refresh int

const (
	// Foreground makes the winner wait for its own creation and return the new
	// value, as in dogpile.cache.
	Foreground Refresh = iota

	// Background makes the winner return the stale value at once, like everyone
	// else, while the creation goes on.
	Background
)

// Config says what a region is made of. Backend and Expiration must be set.
type Config struct {
	// Backend stores the values. Several regions may share one. It must be set;
	// there is no default.
	Backend backend.Backend

	// KeepBackendOpen leaves the backend open when the region is closed or
	// reconfigured; somebody else closes it then. Defaults to false: the last
	// region that uses a backend closes it.
	KeepBackendOpen bool

	// Wrap puts proxies around the backend. The first one is the outermost. They
	// see every operation of every kind of backend. A proxy must not keep the
	// leases of Acquire to itself: if it fails after the backend has granted some,
	// it releases them. A proxy that has a method Err is asked for it, and refused if
	// that returns an error; package proxy has ready ones. Defaults to none.
	Wrap []func(backend.Backend) backend.Backend

	// Mutex decides who creates, in place of the backend's own leases, which
	// then only guard publication: a creator whose publication they refuse still
	// answers its callers. Defaults to the backend's own leases.
	Mutex lock.Locker

	// KeyMangler makes of each key the one under which the backend stores its value;
	// package backend/mangle has ready ones. What a backend itself does with keys it
	// cannot keep (see [backend.KeyMangler]) comes after it. It sees nothing else:
	// callers, creators, observers, Wrap and Mutex have the keys as they were given, and
	// stamps have none.
	//
	// It has to be safe for concurrent use and to return the same for the same key, in
	// every process. Keys of which it makes one take each other's place, and may wait for
	// each other's creators; none ever gets the value of another. If it panics, or
	// returns "" for another key, the operation fails with [ErrKeyMangler].
	//
	// With a mangler, hits of a backend in this process are not read without asking it,
	// as with a proxy. Defaults to nil: keys as they are.
	KeyMangler func(key string) string

	// Codec encodes values for backends that store bytes; others do not use it.
	// Defaults to cbor.New(), and with Interop to that library's.
	Codec codec.Codec

	// Interop shares the region's values and locks with programs that use another
	// caching library on the same servers, such as those of Python's dogpile.cache with
	// dogpilepy.Format of package codec/dogpilepy. Keys are then as they were given and
	// KeyMangler leaves them, without the region's name, so that regions over one backend
	// share them; Codec has to be what the other library decodes. It needs a backend that
	// is a [backend.Sharer], as those of Redis and memcached are, and does not go together
	// with NotFoundFor, with Mutex, and with a MaxWait of Forever. What else the other
	// format has no place for, tags and the invalidation of whole regions above all, is
	// answered with [ErrInterop]. Defaults to nil: the region's own format.
	Interop codec.Format

	// Expiration is the age at which a value becomes stale and is created anew;
	// [Forever] means never. It must be set; there is no default.
	Expiration time.Duration

	// StaleFor is how long after its expiration a value may still be served
	// while another caller creates it anew; [NoStale] means not at all, Forever
	// without limit. Defaults to Expiration.
	StaleFor time.Duration

	// Refresh says whether the caller who creates a stale value anew waits for
	// it. A caller who waits gets the creator's error if it fails; a creator that
	// would rather serve the stale value returns what Creation.Stale gives it.
	// Defaults to Foreground.
	Refresh Refresh

	// NotFoundFor is how long a creator's ErrNotFound is remembered. Defaults to
	// 0: it is not remembered.
	NotFoundFor time.Duration

	// CreateTimeout is how long a creator may take; Forever means without limit.
	// After it the creator's context ends, its callers get ErrCreateTimeout, and
	// the key can be created again. Defaults to 30 seconds.
	CreateTimeout time.Duration

	// CancelOnLeaseLost ends a creator's context, with ErrLeaseLost as its cause,
	// when its lease or that of Mutex is lost, because its value can then no
	// longer be stored; its callers start over. Defaults
	// to false: the creator goes on, and its value goes to those who waited
	// before it began.
	CancelOnLeaseLost bool

	// MaxWait is how long a call may take whose own context ends later or never;
	// Forever means without limit. Defaults to one minute.
	MaxWait time.Duration

	// CloseTimeout is how long Close and Reconfigure wait for the calls and
	// creations that are under way before they cancel them. Defaults to 10
	// seconds.
	CloseTimeout time.Duration

	// Disabled takes the cache away, to find out whether it is to blame for something:
	// nothing is found and nothing is stored, so every call runs its creator. Calls
	// for one key at the same time in one process still share one run. Set, Delete and
	// the invalidations make invalid what other processes have stored; of theirs a
	// disabled region learns nothing, as it reads nothing. The environment variable
	// [EnvDisable] does the same for all regions. Defaults to false.
	Disabled bool

	// Observer is told of events; see [Observer]. Defaults to nil: nobody is
	// told.
	Observer Observer
}

// isNil reports whether v is nil or holds a nil pointer, whose methods would panic.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	p := reflect.ValueOf(v)
	return p.Kind() == reflect.Pointer && p.IsNil()
}

// Defaults of Config, where zero stands for them.
const (
	defaultCreateTimeout = 30 * time.Second
	defaultMaxWait       = time.Minute
	defaultCloseTimeout  = 10 * time.Second
)

// settled returns the configuration with its defaults filled in, or an error that
// names everything that is wrong with it.
func (c Config) settled() (Config, error) {
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
	}
	span := func(field string, d time.Duration, special ...time.Duration) {
		for _, s := range special {
			if d == s {
				return
			}
		}
		if d < 0 {
			bad("%s is negative (%v)", field, d)
		}
	}

	switch b := c.Backend.(type) {
	case nil:
		bad("Backend is nil; pass for example memory.New(memory.Config{})")
	default:
		if isNil(b) {
			bad("Backend is a nil %T", b)
			break
		}
		if !reflect.ValueOf(b).Comparable() {
			bad("Backend is a %T, which cannot be compared; pass a pointer to it", b)
		}
		if checked, ok := b.(interface{ Err() error }); ok {
			if err := checked.Err(); err != nil {
				bad("Backend: %w", err)
			}
		}
	}
	if c.Mutex != nil && isNil(c.Mutex) {
		bad("Mutex is a nil %T", c.Mutex)
	} else if checked, ok := c.Mutex.(interface{ Err() error }); ok {
		if err := checked.Err(); err != nil {
			bad("Mutex: %w", err)
		}
	}
	if c.Codec != nil && isNil(c.Codec) {
		bad("Codec is a nil %T", c.Codec)
	}
	for i, wrap := range c.Wrap {
		if wrap == nil {
			bad("Wrap[%d] is nil", i)
		}
	}
	c.checkInterop(bad)
	if c.Expiration == 0 {
		bad("Expiration is not set; set it to the age at which a value is created anew, or to region.Forever")
	}
	span("Expiration", c.Expiration, Forever)
	span("StaleFor", c.StaleFor, Forever, NoStale)
	span("NotFoundFor", c.NotFoundFor)
	span("CreateTimeout", c.CreateTimeout, Forever)
	span("MaxWait", c.MaxWait, Forever)
	span("CloseTimeout", c.CloseTimeout)
	if c.Refresh != Foreground && c.Refresh != Background {
		bad("Refresh is %d; it is region.Foreground or region.Background", c.Refresh)
	}
	switch here, err := disabledHere(); {
	case err != nil:
		bad("%w", err)
	case here:
		c.Disabled = true
	}
	if err := checkObserver(c.Observer); err != nil {
		bad("Observer: %w", err)
	}
	if len(wrong) > 0 {
		return c, errors.Join(wrong...)
	}

	switch {
	case c.Codec != nil:
	case c.Interop != nil:
		if c.Codec = c.Interop.Codec(); c.Codec == nil {
			return c, fmt.Errorf("%w: Codec is not set, and Interop has none", ErrConfig)
		}
	default:
		c.Codec = cbor.New()
	}
	if c.StaleFor == 0 {
		c.StaleFor = c.Expiration
	}
	if c.CreateTimeout == 0 {
		c.CreateTimeout = defaultCreateTimeout
	}
	if c.MaxWait == 0 {
		c.MaxWait = defaultMaxWait
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = defaultCloseTimeout
	}
	return c, nil
}
