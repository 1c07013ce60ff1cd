package proof

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
)

// What follows are backends that break one promise each. A history on any of them has to
// be found illegal, or the proof proves nothing.

// capturesLate gives what is stored the stamps that are current then, instead of those
// from before its creator began.
type capturesLate struct {
	backend.Backend
	region, tags bool // which stamps
}

func (b *capturesLate) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	for i, item := range items {
		if item.Entry == nil || item.Entry.Stamps.Soft.IsZero() {
			continue // nothing, or what Expire stores
		}
		entry := *item.Entry
		if b.region {
			now, err := b.Stamps(ctx, []backend.Guard{{Region: item.Key.Region}})
			if err != nil {
				return nil, err
			}
			entry.Stamps = now[0]
		}
		if b.tags {
			entry.Tags = append([]backend.Tagged(nil), entry.Tags...)
			for j, tag := range entry.Tags {
				now, err := b.Stamps(ctx, []backend.Guard{{Region: item.Key.Region, Tag: tag.Tag}})
				if err != nil {
					return nil, err
				}
				entry.Tags[j].Stamps = now[0]
			}
		}
		items[i].Entry = &entry
	}
	return b.Backend.Set(ctx, items, guards)
}

// deletesWithoutVoiding leaves the leases of the keys that it deletes to their holders:
// they may store under them still.
type deletesWithoutVoiding struct {
	backend.Backend
	mu     sync.Mutex
	held   map[backend.Key]string // the token of the last lease
	spared map[string]bool        // leases, by token, that a Delete should have voided
}

func (b *deletesWithoutVoiding) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	grants, stamps, err := b.Backend.Acquire(ctx, keys, guards)
	for i := range grants {
		if grants[i].Lease != nil {
			b.held[keys[i]] = grants[i].Lease.Token()
		}
	}
	return grants, stamps, err
}

func (b *deletesWithoutVoiding) Delete(ctx context.Context, keys []backend.Key) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range keys {
		if token := b.held[key]; token != "" {
			b.spared[token] = true
		}
	}
	return b.Backend.Delete(ctx, keys)
}

func (b *deletesWithoutVoiding) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, item := range items {
		if item.Lease != nil && b.spared[item.Lease.Token()] {
			items[i].Lease = nil
		}
	}
	return b.Backend.Set(ctx, items, guards)
}

// forgetsToRenew does nothing in one of ten invalidations.
type forgetsToRenew struct{ backend.Backend }

func (b *forgetsToRenew) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if rand.IntN(10) == 0 {
		return nil
	}
	return b.Backend.Renew(ctx, guards, soft)
}

// answersFromMemory answers reads with what they said up to five milliseconds ago.
type answersFromMemory struct {
	backend.Backend
	mu   sync.Mutex
	said map[string]answer
}

type answer struct {
	found backend.Found
	at    time.Time
}

func (b *answersFromMemory) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	name := fmt.Sprint(key, guards)
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.said[name]; time.Since(last.at) < 5*time.Millisecond {
		return last.found, nil
	}
	found, err := b.Backend.Get(ctx, key, guards)
	b.said[name] = answer{found, time.Now()}
	return found, err
}

// storesWithoutLease lets a creation store although its lease was voided.
type storesWithoutLease struct {
	backend.Backend
}

func (b *storesWithoutLease) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	stamps, err := b.Backend.Set(ctx, items, guards)
	for i, item := range items {
		if item.Err == nil || item.Lease == nil || item.Entry == nil {
			continue
		}
		again := []backend.Item{item}
		again[0].Lease, again[0].Err = nil, nil
		if _, err := b.Backend.Set(ctx, again, nil); err != nil {
			return nil, err
		}
		items[i].Err = again[0].Err
	}
	return stamps, err
}

// tellsOld says that the stamps are as they were captured, when the region asks after a
// creation whether its value may be given to those who came later.
type tellsOld struct {
	backend.Backend
	mu       sync.Mutex
	captured map[string]map[backend.Guard]backend.Stamps // by token of the lease
}

func (b *tellsOld) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	grants, stamps, err := b.Backend.Acquire(ctx, keys, guards)
	old := make(map[backend.Guard]backend.Stamps, len(stamps))
	for i := range stamps {
		old[guards[i]] = stamps[i]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, grant := range grants {
		if grant.Lease != nil {
			b.captured[grant.Lease.Token()] = old
		}
	}
	return grants, stamps, err
}

func (b *tellsOld) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	stamps, err := b.Backend.Set(ctx, items, guards)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, item := range items {
		if item.Lease == nil {
			continue
		}
		for i := range stamps {
			if old, known := b.captured[item.Lease.Token()][guards[i]]; known {
				stamps[i] = old
			}
		}
	}
	return stamps, err
}

// renewsTagsAlone renews tags without the guard that stands for all of them, which comes first:
// nobody can know then that a tag was invalidated while its value was created.
type renewsTagsAlone struct{ backend.Backend }

func (b *renewsTagsAlone) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if len(guards) > 1 {
		guards = guards[1:]
	}
	return b.Backend.Renew(ctx, guards, soft)
}

// renewsTheFirstLast renews the first guard, which is the one that stands for all tags,
// after the others.
type renewsTheFirstLast struct{ backend.Backend }

func (b *renewsTheFirstLast) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if len(guards) > 1 {
		if err := b.Backend.Renew(ctx, guards[1:], soft); err != nil {
			return err
		}
		pause()
	}
	return b.Backend.Renew(ctx, guards[:1], soft)
}

// Every broken promise is found, within so many operations.
func TestBrokenBackendsAreFound(t *testing.T) {
	const atOnce, most = 2_000, 60_000
	for _, test := range []struct {
		name string
		wrap func(backend.Backend) backend.Backend
	}{
		{"the region's stamps are captured after the creator", func(b backend.Backend) backend.Backend {
			return &capturesLate{Backend: b, region: true}
		}},
		{"the stamps of tags are captured after the creator", func(b backend.Backend) backend.Backend {
			return &capturesLate{Backend: b, tags: true}
		}},
		{"Delete does not void the lease", func(b backend.Backend) backend.Backend {
			return &deletesWithoutVoiding{Backend: b, held: map[backend.Key]string{}, spared: map[string]bool{}}
		}},
		{"Renew does nothing now and then", func(b backend.Backend) backend.Backend {
			return &forgetsToRenew{b}
		}},
		{"Get is answered from memory", func(b backend.Backend) backend.Backend {
			return &answersFromMemory{Backend: b, said: map[string]answer{}}
		}},
		{"a creation stores without its lease", func(b backend.Backend) backend.Backend {
			return &storesWithoutLease{b}
		}},
		{"publication does not say that stamps have changed", func(b backend.Backend) backend.Backend {
			return &tellsOld{Backend: b, captured: map[string]map[backend.Guard]backend.Stamps{}}
		}},
		{"tags are renewed without what stands for all of them", func(b backend.Backend) backend.Backend {
			return &renewsTagsAlone{b}
		}},
		{"what stands for all tags is renewed last", func(b backend.Backend) backend.Backend {
			return &renewsTheFirstLast{b}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			real := memory.New(memory.Config{})
			defer func() { _ = real.Close() }()
			b := test.wrap(real)
			var broken []int
			p := plan{Expiration: time.Hour, Clients: clients, Each: each(atOnce)}
			all := inOneProcess(t, p, [processes]backend.Backend{b, b, b}, most, func(all []record) bool {
				var err error
				if broken, err = violations(split(usual, all)); err != nil {
					t.Error(err)
				}
				return len(broken) == 0 && count(all).operations < most
			})
			if len(broken) == 0 {
				t.Fatalf("it is not found within %d operations", count(all).operations)
			}
			k := broken[0]
			steps := excerpt(split(usual, all)[k])
			t.Logf("found within %d operations:\n%s", count(all).operations, tell(steps, all, k))
		})
	}
}
