package region_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

type user struct {
	ID   int64
	Tags []string
}

func TestAnotherTypeIsAMiss(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		rec := &recorder{}
		cfg.Observer = rec
		r := open(t, cfg)
		if err := region.Set(t.Context(), r, "k", user{ID: 1}); err != nil {
			t.Fatal(err)
		}
		type post struct{ ID int64 }
		if v, ok, err := region.Get[post](t.Context(), r, "k"); ok || err != nil {
			t.Errorf("Get = %v, %v, %v; want a miss", v, ok, err)
		}
		if v, ok, err := region.Get[*user](t.Context(), r, "k"); ok || err != nil {
			t.Errorf("Get = %v, %v, %v; want a miss", v, ok, err)
		}
		must(t, r, "k", counting(), "v1")
		if cfg.Backend.Bytes() {
			// Bytes may be those of another release.
			if s := r.Stats(); s.Foreign < 3 || s.BadEntries != 0 {
				t.Errorf("%d foreign and %d bad entries were counted for 3 reads", s.Foreign, s.BadEntries)
			}
			return
		}
		if len(rec.badEntries) < 3 || r.Stats().BadEntries != int64(len(rec.badEntries)) {
			t.Errorf("%d events and %d counted for 3 reads", len(rec.badEntries), r.Stats().BadEntries)
		}
		for _, e := range rec.badEntries {
			if e.Region != "test" || e.Key != "k" || e.Err == nil {
				t.Errorf("the event says %+v", e)
			}
		}
	})
}

func TestCallersOfTwoTypesAtOnceEachGetTheirOwn(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		strings := herd(t, 1, r, "k", c)
		numbers := make(chan error, 5)
		for range 5 {
			go func() {
				n, err := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (int, error) { return 7, nil })
				if n != 7 && err == nil {
					err = fmt.Errorf("got %d", n)
				}
				numbers <- err
			}()
		}
		synctest.Wait()
		c.release()
		allGot(t, strings, "v1")
		for range 5 {
			if err := <-numbers; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCallersOfACopyingBackendShareNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, config(memory.Config{Copy: true}))
		gate := make(chan struct{})
		got := make(chan user, 20)
		for range cap(got) {
			go func() {
				u, err := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (user, error) {
					<-gate
					return user{ID: 1, Tags: []string{"a"}}, nil
				})
				if err != nil {
					t.Error(err)
				}
				got <- u
			}()
		}
		synctest.Wait()
		close(gate)
		for range cap(got) {
			u := <-got
			if u.Tags[0] != "a" {
				t.Fatal("a caller sees what another one has written")
			}
			u.Tags[0] = "changed"
		}
		u, _, err := region.Get[user](t.Context(), r, "k")
		if err != nil || u.Tags[0] != "a" {
			t.Errorf("got %v, %v", u, err)
		}
	})
}
