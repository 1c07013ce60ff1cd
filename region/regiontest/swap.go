package regiontest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// Swap gives a declared region another backend until the test ends:
//
//	regiontest.Swap(t, region.Named("users"), memory.New(memory.Config{}))
//
// Then the region has its former backend again, with what was stored there before and
// nothing of the test; that backend is neither used nor closed meanwhile. All else stays as
// it is configured, but for Mutex, which is left out, because it belongs to the former
// backend, and for Interop, if the other library cannot reach b, or b is nil; change what has to be different in configure. A nil b stands for a backend in
// memory. The region closes b when the test ends, unless another region uses it or
// configure sets KeepBackendOpen.
//
// A region that was not configured is so again when the test has ended; meanwhile it has
// what [New] gives a region.
//
// A subtest can swap what its parent has swapped. The test fails at once if another test
// has the region, which then runs in parallel: such tests need regions of their own.
func Swap(t testing.TB, r *region.Region, b backend.Backend, configure ...func(*region.Config)) {
	t.Helper()
	if r == nil {
		t.Fatalf("regiontest.Swap: the region is nil; region.Named returns that for a name that nobody has declared. Declared are %s",
			strings.Join(region.Declared(), ", "))
	}
	taken.take(t, "Swap", r)
	var own backend.Backend
	restore, err := r.Substitute(func(cfg *region.Config) {
		if cfg.Backend == nil { // not configured
			cfg.Expiration, cfg.StaleFor = time.Hour, time.Hour
		}
		cfg.Backend, cfg.KeepBackendOpen, cfg.Mutex, cfg.Disabled = b, false, nil, false
		if _, shared := b.(backend.Sharer); !shared {
			cfg.Interop = nil
		}
		for _, f := range configure {
			if f != nil {
				f(cfg)
			}
		}
		if cfg.Backend == nil { // last, so that it is not left behind if configure has another one
			own = memory.New(memory.Config{})
			cfg.Backend = own
		}
	})
	if err != nil {
		if own != nil {
			own.Close()
		}
		t.Fatalf("regiontest.Swap: %v", err)
	}
	t.Cleanup(func() {
		t.Helper()
		if err := restore(); err != nil {
			t.Errorf("regiontest.Swap: %v", err)
		}
	})
}

// taken knows which test has which region.
var taken = tests{by: map[*region.Region][]string{}}

type tests struct {
	mu sync.Mutex
	by map[*region.Region][]string // the last one has it; those before are its parents
}

// take gives a region to t until t ends, if nobody has it but t and its parents.
func (have *tests) take(t testing.TB, how string, r *region.Region) {
	t.Helper()
	have.mu.Lock()
	other, free := "", true
	if names := have.by[r]; len(names) > 0 {
		other = names[len(names)-1]
		free = other == t.Name() || strings.HasPrefix(t.Name(), other+"/")
	}
	if free {
		have.by[r] = append(have.by[r], t.Name())
	}
	have.mu.Unlock()
	if !free {
		t.Fatalf("regiontest.%s: the region %q belongs to the test %s until that ends; give each parallel test a region of its own, with regiontest.New, or do not run them in parallel",
			how, r.Name(), other)
	}
	t.Cleanup(func() {
		have.mu.Lock()
		defer have.mu.Unlock()
		if have.by[r] = have.by[r][:len(have.by[r])-1]; len(have.by[r]) == 0 {
			delete(have.by, r)
		}
	})
}
