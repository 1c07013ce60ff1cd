package memory

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/inproc"
)

// defaultMaxEntries bounds a backend for which nobody has thought about bounds.
const defaultMaxEntries = 100_000

// Config says how much a Backend keeps and in which form. The zero Config is
// usable.
type Config struct {
	// MaxEntries is how many entries are kept before those that are least likely
	// to be asked for again are dropped. It excludes MaxBytes. Defaults to
	// 100,000 when neither bound is set.
	MaxEntries int

	// MaxBytes is how many bytes the entries may take before the same happens,
	// counting keys, values and a fixed overhead for each entry. It bounds an
	// estimate, not the heap. An entry that alone exceeds it is not kept, and one
	// entry counts for 4 GiB at most. Defaults to 0, no bound in bytes.
	MaxBytes int64

	// Copy makes the backend keep bytes rather than Go values, so that every
	// caller decodes a value of its own, which it may change. Defaults to false:
	// all callers share one value, which nobody may change.
	Copy bool

	// Weigh returns how many bytes a value takes, for MaxBytes. It is given the
	// value as its creator returned it, and is needed for values whose size
	// cannot be seen from outside or that other goroutines change meanwhile. It
	// is not asked with Copy, where the size is known, nor for a stored "not
	// found". Defaults to an estimate that follows the value's pointers, slices,
	// maps and strings, through 10,000 of them at most.
	Weigh func(value any) int
}

// check returns what is wrong with c.
func (c Config) check() error {
	switch {
	case c.MaxEntries < 0:
		return fmt.Errorf("memory: MaxEntries is %d; give a positive number, or zero for the default", c.MaxEntries)
	case c.MaxBytes < 0:
		return fmt.Errorf("memory: MaxBytes is %d; give a positive number, or zero for no bound in bytes", c.MaxBytes)
	case c.MaxEntries > 0 && c.MaxBytes > 0:
		return errors.New("memory: MaxEntries and MaxBytes are both set; choose one bound")
	}
	return nil
}

// Open is the [backend.Opener] of the scheme "memory". The URL has no address;
// its options are max_entries, max_bytes and copy, with the meanings and defaults
// of [Config], as in "memory:?max_entries=1000&copy=true". It returns an error
// that names the option for one that is unknown or cannot be read.
func Open(u *url.URL) (backend.Backend, error) {
	options, err := inproc.Options(u, "copy", "max_bytes", "max_entries")
	if err != nil {
		return nil, err
	}
	var cfg Config
	for option, text := range options {
		switch option {
		case "copy":
			cfg.Copy, err = strconv.ParseBool(text)
		case "max_bytes":
			cfg.MaxBytes, err = strconv.ParseInt(text, 10, 64)
		case "max_entries":
			cfg.MaxEntries, err = strconv.Atoi(text)
		}
		if err != nil {
			// A strconv.NumError repeats the text; what is wrong with it is inside.
			return nil, fmt.Errorf("option %s=%q cannot be read: %w", option, text, errors.Unwrap(err))
		}
	}
	b := New(cfg)
	if err := b.Err(); err != nil {
		return nil, err
	}
	return b, nil
}
