package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// user is the value that is cached.
type user struct {
	ID   int64
	Name string
	Age  int
}

// source is where the values come from. Loading one is counted, so that a
// benchmark can tell that it has measured hits.
type source struct {
	keys  []string // "key:0", "key:1", …
	name  string   // of every user
	loads atomic.Int64
	turn  int64 // the user that fill is at, for loaders that are not told the key
}

func newSource(n int) *source {
	s := &source{keys: make([]string, n), name: "somebody"}
	for i := range s.keys {
		s.keys[i] = "key:" + strconv.Itoa(i)
	}
	return s
}

// loadID loads by number, load by key, and loadTurn whatever is being filled in.
func (s *source) loadID(_ context.Context, id int64) (user, error) {
	s.loads.Add(1)
	return user{ID: id, Name: s.name, Age: int(id % 100)}, nil
}

func (s *source) load(ctx context.Context, key string) (user, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(key, "key:"), 10, 64)
	if err != nil {
		return user{}, err
	}
	return s.loadID(ctx, id)
}

func (s *source) loadTurn(ctx context.Context) (user, error) {
	if s.turn < 0 {
		return user{}, errors.New("a miss after everything was filled in")
	}
	return s.loadID(ctx, s.turn)
}

// fill asks for every key once and then for none of them by the same string.
func (s *source) fill(tb testing.TB, hit hit) {
	tb.Helper()
	for i := range s.keys {
		s.turn = int64(i)
		if u, err := hit(uint32(i)); err != nil || u.ID != int64(i) {
			tb.Fatalf("%s is filled in: %+v, %v", s.keys[i], u, err)
		}
	}
	s.turn = -1
	for i, key := range s.keys {
		s.keys[i] = strings.Clone(key)
	}
	s.allHits(tb)
}

// allHits fails tb unless each key was loaded exactly once, when it was filled in.
func (s *source) allHits(tb testing.TB) {
	tb.Helper()
	if n := s.loads.Load(); n != int64(len(s.keys)) {
		tb.Fatalf("%d values were loaded for %d keys: there were misses", n, len(s.keys))
	}
}

// order is the order in which keys are asked for, drawn in advance. Its length is
// a power of two.
type order []uint32

const orderLen = 1 << 18

// at returns the i-th key; the order starts again when it ends.
func (o order) at(i int) uint32 { return o[i&(orderLen-1)] }

// zipfOrder asks for some of n keys far more often than for others.
func zipfOrder(n int) order {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, uint64(n-1))
	o := make(order, orderLen)
	for i := range o {
		o[i] = uint32(zipf.Uint64())
	}
	return o
}

// uniformOrder asks for each of n keys as often.
func uniformOrder(n int) order {
	random := rand.New(rand.NewPCG(1, 2))
	o := make(order, orderLen)
	for i := range o {
		o[i] = random.Uint32N(uint32(n))
	}
	return o
}
