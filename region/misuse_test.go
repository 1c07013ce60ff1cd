package region_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/null"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
)

func noPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("%s panics: %v", what, v)
		}
	}()
	f()
}

func TestANilRegionIsNotConfigured(t *testing.T) {
	var r *region.Region
	ctx := t.Context()
	noPanic(t, "GetOrCreate with a nil creator", func() { region.GetOrCreate[string](ctx, r, "k", nil) })
	noPanic(t, "GetOrCreateMulti with a nil creator", func() { region.GetOrCreateMulti[string](ctx, r, nil, nil) })
	noPanic(t, "GetOrCreate with a bad option", func() { region.GetOrCreate(ctx, r, "k", counting().create, region.WithExpiration(-5)) })
	noPanic(t, "Configure", func() { r.Configure(region.Config{}) })
	noPanic(t, "Reconfigure", func() { r.Reconfigure(region.Config{}) })
	noPanic(t, "Close", func() { r.Close() })
	noPanic(t, "Stats", func() { r.Stats() })
	noPanic(t, "Name", func() { r.Name() })
	noPanic(t, "Delete", func() { r.Delete(ctx, "k") })
	noPanic(t, "Invalidate", func() { r.Invalidate(ctx, region.Hard) })
}

func TestARegionWithoutANameCannotBeConfigured(t *testing.T) {
	r := new(region.Region)
	err := r.Configure(region.Config{Backend: null.New(), Expiration: time.Minute})
	if !errors.Is(err, region.ErrConfig) {
		t.Errorf("Configure of a region without a name: %v", err)
	}
	r.Close()
}

type boxed struct {
	backend.Backend
	extra any
}

func TestConfigureDoesNotPanic(t *testing.T) {
	b := null.New()
	noPanic(t, "a Backend that is comparable by type only", func() {
		region.New("x", region.Config{Backend: boxed{b, []int{1}}, Expiration: time.Minute})
	})
	noPanic(t, "Wrap that returns a typed nil", func() {
		region.New("x", region.Config{Backend: b, Expiration: time.Minute, Wrap: []func(backend.Backend) backend.Backend{
			func(backend.Backend) backend.Backend { return (*null.Backend)(nil) }}})
	})
	noPanic(t, "Wrap that panics", func() {
		region.New("x", region.Config{Backend: b, Expiration: time.Minute, Wrap: []func(backend.Backend) backend.Backend{
			func(backend.Backend) backend.Backend { panic("wrap") }}})
	})
	for name, cfg := range map[string]region.Config{
		"Mutex":    {Backend: b, Expiration: time.Minute, Mutex: (*local.Locker)(nil)},
		"Observer": {Backend: b, Expiration: time.Minute, Observer: (*recorder)(nil)},
	} {
		r, err := region.New("x", cfg)
		if err == nil {
			noPanic(t, "typed nil "+name, func() {
				_, err = region.GetOrCreate(t.Context(), r, "k", counting().create)
			})
			t.Errorf("typed nil %s was accepted; GetOrCreate: %.60q", name, fmt.Sprint(err))
			r.Close()
		}
	}
}
