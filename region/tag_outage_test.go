package region_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// While the backend is down, callers with tags share what this process creates, as others
// do: also those who have come after the creator began.
func TestCallersWithTagsShareInAnOutage(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		down := &outage{ops: "get acquire set wait stamps"}
		down.on.Store(true)
		cfg.Wrap = append(cfg.Wrap, probing(down.probe()))
		r, c := open(t, cfg), blocking()
		calls := herd(t, 1, r, "k", c, region.WithTags("t"))
		calls = append(calls, herd(t, 20, r, "k", c, region.WithTags("t"))...)

		began := 0
		release := make(chan struct{})
		f := decorate.CacheOnArguments(r, func(context.Context, int) (string, error) {
			began++
			<-release
			return "v1", nil
		}, region.Namespace("f"))
		for range 20 {
			done := make(chan answer, 1)
			go func() {
				v, err := f.Call(t.Context(), 1)
				done <- answer{v, err}
			}()
			calls = append(calls, done)
			synctest.Wait()
		}
		c.release()
		close(release)
		allGot(t, calls, "v1")
		c.want(t, 1)
		if began != 1 {
			t.Errorf("the function ran %d times, want once", began)
		}
	})
}
