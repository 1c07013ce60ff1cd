// Package dogpilepy lets regions share their values with those of Python's dogpile.cache,
// 1.1 and newer, on Redis and memcached: what one language has created is a hit in the
// other, and one mutex keeps both from creating it twice.
//
//	users, err := region.New("users", region.Config{
//		Backend:    backend,
//		Expiration: time.Hour,
//		Interop:    dogpilepy.Format,
//		KeyMangler: mangle.SHA1,
//	})
//
// On the other side stands a region that has a JSON serializer:
//
//	region = make_region(
//	    key_mangler=sha1_mangle_key,
//	    serializer=lambda v: json.dumps(v).encode(),
//	    deserializer=json.loads,
//	).configure(
//	    "dogpile.cache.redis",
//	    expiration_time=3600,
//	    arguments={
//	        "host": "localhost",
//	        "redis_expiration_time": 7200,
//	        "distributed_lock": True,
//	        "lock_timeout": 30,
//	        "thread_local_lock": False,
//	    },
//	)
//
// # What is shared
//
// A value is stored as Python stores it, with the time of its creation and no more:
//
//	{"ct": 1795222722.152968, "v": 2}|{"id": 5}
//
// The payload is JSON unless the region has a codec: [JSON] says what becomes of numbers
// and strings. codec/msgpack reads and writes what Python's msgpack.packb and unpackb do.
// A Python region without a serializer pickles; [Pickle] reads the simple ones of those.
//
// A function has the keys that dogpile.cache's decorators make of it, and of its arguments,
// with the option region.WithKeyForm and [Function] or [KwargFunction].
//
// What a region cannot promise that is shared so, above all that it can be invalidated as a
// whole, stands in a table in docs/from-python.md.
//
// Set lock_timeout on the Python side. Without it a process that is killed while it holds a
// lock keeps it for ever; Config.StealAfter is for those who cannot.
package dogpilepy

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/spelling"
)

// ErrConfig is wrapped by the errors for a [Config] that cannot be used.
var ErrConfig = errors.New("dogpilepy: bad configuration")

// Format is the format with its defaults, as [New] of an empty [Config] returns it.
var Format = New(Config{})

// DefaultLockPrefix is what dogpile.cache puts in front of a key to name its lock.
const DefaultLockPrefix = "_lock"

// Config says how the Python regions are configured. Its zero value stands for those that
// have the defaults of dogpile.cache.
type Config struct {
	// LockPrefix is the argument lock_prefix of the Python regions: 2 to 10 letters,
	// digits, "_", "-", "." and ":". Empty means DefaultLockPrefix.
	LockPrefix string

	// StealAfter is how long somebody may hold a lock that never expires, which is a
	// Python process without lock_timeout, before it is taken for dead and the lock is
	// taken away. If it was alive it gets redis-py's LockNotOwnedError when its creator
	// returns, and on memcached it ends the lock of whoever has it then; so this should be
	// longer than any creator takes. memcached does not tell when an item ends, so there this
	// goes for every lock of Python. At least a millisecond. Zero means never: callers wait as
	// long as the region lets them, and get an error then.
	StealAfter time.Duration

	// Flags are those of values on memcached: 0 for the Python clients pymemcache,
	// python-memcached and pylibmc, and 16 for bmemcached.
	Flags uint32
}

// Interop is the format of dogpile.cache 1.1 and newer. It is immutable and safe for
// concurrent use; the zero value is that of an empty [Config].
type Interop struct {
	config Config
	err    error
}

var _ codec.Format = (*Interop)(nil)

// New returns the format for regions that are configured like c. What is wrong with c is
// what Err returns, and the error of the region that is configured with it.
func New(c Config) *Interop {
	return &Interop{config: c, err: check(c)}
}

func check(c Config) error {
	if c.LockPrefix != "" && !validPrefix(c.LockPrefix) {
		return fmt.Errorf("%w: the lock prefix %.60q: dogpile.cache takes 2 to 10 letters, digits, \"_\", \"-\", \".\" and \":\"", ErrConfig, c.LockPrefix)
	}
	if c.StealAfter < 0 {
		return fmt.Errorf("%w: StealAfter is %v: it cannot be negative, and 0 means never", ErrConfig, c.StealAfter)
	}
	if c.StealAfter > 0 && c.StealAfter < time.Millisecond {
		return fmt.Errorf("%w: StealAfter is %v, so short that every lock would be taken away: give it a unit, such as 30*time.Second", ErrConfig, c.StealAfter)
	}
	return nil
}

// validPrefix is the rule of dogpile.cache, without the letters of other alphabets that it
// takes as well: they are not worth what can go wrong between two of their forms.
func validPrefix(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.', c == ':':
		default:
			return false
		}
	}
	return 2 <= len(text) && len(text) <= 10
}

// Err returns an error that wraps [ErrConfig] if the format was made of a [Config] that
// cannot be used, and nil otherwise.
func (f *Interop) Err() error { return f.err }

// Name returns "dogpile.cache".
func (f *Interop) Name() string { return "dogpile.cache" }

// Layout implements [codec.Format].
func (f *Interop) Layout() codec.Layout {
	prefix := f.config.LockPrefix
	if prefix == "" {
		prefix = DefaultLockPrefix
	}
	return codec.Layout{LockPrefix: prefix, StealAfter: f.config.StealAfter, Flags: f.config.Flags}
}

// Codec returns [JSON].
func (f *Interop) Codec() codec.Codec { return JSON() }

// The options of the name that codec.OpenFormat takes.
var options = []string{"flags", "lock_prefix", "steal_after"}

// open makes the format of options, which are fields of Config as Python would spell them.
func open(given url.Values) (codec.Format, error) {
	var c Config
	for name := range given {
		value := given.Get(name)
		switch name {
		case "lock_prefix":
			c.LockPrefix = value
		case "steal_after":
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("%w: steal_after is %.60q: write a number and a unit, such as 30s", ErrConfig, value)
			}
			c.StealAfter = d
		case "flags":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%w: flags is %.60q: write a number, 16 for bmemcached", ErrConfig, value)
			}
			c.Flags = uint32(n)
		default:
			return nil, fmt.Errorf("%w: %w", ErrConfig, spelling.UnknownOption(name, options))
		}
	}
	f := New(c)
	if f.err != nil {
		return nil, f.err
	}
	return f, nil
}

func init() {
	// They fail only if the program has given the name to something of its own, which
	// then is what the program wants.
	_ = codec.RegisterFormat("dogpilepy", open)
	_ = codec.Register("pickle", func() (codec.Codec, error) { return Pickle(), nil })
}
