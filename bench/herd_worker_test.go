package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleettest"
)

// creator makes the value of a key.
type creator func(ctx context.Context, key string) (string, error)

// fleetOf is one way for a fleet to share values. Its join connects a process to the
// Redis at addr and returns what asks for a key.
type fleetOf struct {
	name  string
	join  func(addr string, create creator) (ask creator, leave func() error, err error)
	locks bool // one process creates, and the others wait
	ours  bool
}

var fleets = []fleetOf{
	{"region", joinRegion, true, true},
	{"go-redis-cache", joinGoRedisCache, false, false},
	{"redislock_100ms", joinRedislock, true, false},
	{"rueidislock", joinRueidislock, true, false},
}

// herd is the role of one process: at each "go" its callers all want one key.
func herd(w *fleettest.Worker) error {
	var params herdParams
	if err := w.Params(&params); err != nil {
		return err
	}
	takes := params.Takes
	ask, leave, err := join(params, func(_ context.Context, key string) (string, error) {
		// A warm-up is a creation as well, of a key that nobody else wants.
		if key == warmUp(w.Index) {
			return "warm", nil
		}
		w.Event("creating", key)
		if takes > 0 {
			time.Sleep(takes)
		} else {
			w.Await("finish")
		}
		w.Event("created", key)
		return fmt.Sprintf("of process %d", w.Index), nil
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := ask(ctx, warmUp(w.Index)); err != nil {
		return err
	}
	w.Ready()
	for i := range params.Rounds {
		w.Await("go")
		w.Report(crowdOf(ctx, params.Callers, ask, fmt.Sprint("cold ", i)))
		if takes > 0 {
			takes += moreEach
		}
	}
	return leave()
}

func join(params herdParams, create creator) (creator, func() error, error) {
	for _, f := range slices.Concat(fleets, elsewhere) {
		if f.name == params.Who {
			return f.join(params.Addr, create)
		}
	}
	return nil, nil, errors.New("no fleet is called " + params.Who)
}

func warmUp(index int) string { return fmt.Sprint("warm up ", index) }

// crowdOf has all callers of this process ask for key at once.
func crowdOf(ctx context.Context, callers int, ask creator, key string) herdReport {
	report := herdReport{Values: map[string]int{}, Errors: map[string]int{}}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for range callers {
		asking.Go(func() {
			value, err := ask(ctx, key)
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			if report.Last = now; err != nil {
				report.Errors[err.Error()]++
			} else {
				report.Values[value]++
			}
		})
	}
	asking.Wait()
	return report
}
