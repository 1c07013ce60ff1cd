package redis_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock/redis"
	"github.com/dogpile-go/dogpile/region"
)

// TestCreatorLearnsOfTheLoss wants the loss of a lease of Config.Mutex to end the
// creator's context, as that of a backend's lease does.
func TestCreatorLearnsOfTheLoss(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, server.Client(t), redis.Config{TTL: never})
	r, err := region.New("users", region.Config{
		Backend:           memory.New(memory.Config{}),
		Mutex:             l,
		Expiration:        time.Hour,
		CancelOnLeaseLost: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var creations atomic.Int32
	got, err := region.GetOrCreate(within(t), r, "user:42", func(ctx context.Context) (int32, error) {
		n := creations.Add(1)
		if n > 1 {
			return n, nil
		}
		if err := l.Void(t.Context(), "users:user:42"); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, region.ErrLeaseLost) {
			t.Errorf("the creator's ctx ended with %v, want region.ErrLeaseLost", cause)
		}
		return n, context.Cause(ctx)
	})
	if err != nil || got != 2 {
		t.Errorf("GetOrCreate whose first creator lost its lease = %d, %v; want 2, of a creator that began after it", got, err)
	}
}

// TestRegionsRefuseABrokenLocker wants a region to be told when it is configured, not
// with its first miss.
func TestRegionsRefuseABrokenLocker(t *testing.T) {
	b := memory.New(memory.Config{})
	defer b.Close()
	_, err := region.New("users", region.Config{
		Backend:    b,
		Mutex:      redis.New(nil, redis.Config{}),
		Expiration: time.Hour,
	})
	if !errors.Is(err, redis.ErrConfig) || !strings.Contains(err.Error(), "Mutex") {
		t.Errorf("New with a Mutex that cannot work = %v, want its ErrConfig, and that it is the Mutex", err)
	}
}
