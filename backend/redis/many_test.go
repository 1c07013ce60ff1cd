package redis_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// Very many cold keys at once are created once each, and leave no memory behind
// (R35).
func TestManyColdKeys(t *testing.T) {
	rate := runtime.MemProfileRate
	defer func() { runtime.MemProfileRate = rate }()
	runtime.MemProfileRate = 4 << 10
	server := redistest.Start(t)
	keys := 100_000
	if raceEnabled {
		keys = 3000
	}
	b, err := backend.Open(urlOf(server.URL(), "&dial_timeout=20s&read_timeout=20s&write_timeout=20s"))
	if err != nil {
		t.Fatal(err)
	}
	seen := new(failures)
	r, err := region.New("many", region.Config{Backend: b, Expiration: time.Hour, Observer: seen, MaxWait: 5 * time.Minute, CreateTimeout: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var creations atomic.Int64
	run := func(round string, n int) {
		var callers sync.WaitGroup
		for i := range n {
			callers.Go(func() {
				_, err := region.GetOrCreate(context.Background(), r, fmt.Sprint(round, i), func(context.Context) (int, error) {
					creations.Add(1)
					return i, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	}
	run("warm up ", 2000)
	before := heap()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	creations.Store(0)
	began := time.Now()
	run("cold ", keys)
	t.Logf("%d cold keys in %v", keys, time.Since(began))
	if n := creations.Load(); n != int64(keys) {
		t.Errorf("%d creations, want %d", n, keys)
	}
	for _, err := range seen.all() {
		t.Error(err)
	}
	// What is kept for a moment is gone after it.
	deadline := time.Now().Add(20 * time.Second)
	for {
		more := heap() - before
		if more < min(int64(stats.HeapAlloc/10), 16*int64(keys)) {
			t.Logf("%d KiB more than the %d KiB of before", more>>10, stats.HeapAlloc>>10)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the heap has %d KiB more than the %d KiB of before, want a tenth at most, and 16 bytes a key", more>>10, stats.HeapAlloc>>10)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// heap returns how many bytes are in use, without those that Go keeps of every
// goroutine that there ever was, for the next one, and of stopped timers until they
// are due, and without the connections, whose number is limited.
func heap() (bytes int64) {
	runtime.GC()
	runtime.GC()
	records := make([]runtime.MemProfileRecord, 10_000)
	n, ok := runtime.MemProfile(records, false)
	if !ok {
		panic("more places than expected")
	}
records:
	for _, record := range records[:n] {
		frames := runtime.CallersFrames(record.Stack())
		for more := true; more; {
			var frame runtime.Frame
			frame, more = frames.Next()
			switch name := frame.Function; {
			case name == "runtime.newproc1", name == "time.newTimer", strings.HasSuffix(name, "pool.NewConnWithBufferSize"):
				continue records
			}
		}
		bytes += record.InUseBytes()
	}
	return bytes
}

// failures collects what went wrong between region and backend.
type failures struct {
	mu   sync.Mutex
	list []error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) < 10 {
		f.list = append(f.list, err)
	}
}

func (f *failures) all() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list
}

func (f *failures) ObserveBackendError(e region.BackendErrorEvent) {
	f.add(fmt.Errorf("%s %q: %w", e.Op, e.Key, e.Err))
}

func (f *failures) ObserveUnstored(e region.UnstoredEvent) {
	f.add(fmt.Errorf("not stored %q: %w", e.Key, e.Err))
}
