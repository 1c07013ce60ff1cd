package backend_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/memory"
	_ "github.com/dogpile-go/dogpile/backend/null"
)

func TestOpen(t *testing.T) {
	for _, good := range []string{"memory:", "MEMORY:", "memory:?max_entries=10", "memory:?max_bytes=1000&copy=true", "null:"} {
		b, err := backend.Open(good)
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"":                          "no scheme",
		"memory":                    "no scheme",
		"etcd://host":               "memory, null",
		"memory:?max_entris=1":      "max_entris",
		"memory:?max_entries=x":     "max_entries",
		"memory:?max_entries=-1":    "MaxEntries",
		"null:?x=1":                 "x",
		"redis://u:secret@host:x/0": "cannot be read",
		"redis://u:sec#ret@host:1":  "cannot be read",
	} {
		_, err := backend.Open(bad)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want it to say %q", bad, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "sec") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	if _, err := backend.Open("etcd:"); !errors.Is(err, backend.ErrUnknownScheme) {
		t.Errorf("got %v, want ErrUnknownScheme", err)
	}
}

func TestRegister(t *testing.T) {
	open := func(*url.URL) (backend.Backend, error) { return nil, errors.New("never") }
	if err := backend.Register("", open); err == nil {
		t.Error("an empty scheme is registered")
	}
	if err := backend.Register("x-nil", nil); err == nil {
		t.Error("a nil opener is registered")
	}
	if err := backend.Register("memory", open); err == nil {
		t.Error("a scheme is registered twice")
	}
	if got := backend.Schemes(); !slices.Equal(got, []string{"memory", "null"}) {
		t.Errorf("schemes %q", got)
	}
}

func TestStamps(t *testing.T) {
	one, other := backend.NewStamp(), backend.NewStamp()
	if one == other || one.IsZero() || !(backend.Stamp{}).IsZero() {
		t.Error("stamps are not random, or the zero stamp is one")
	}
	live := backend.NewLiveStamps()
	first := live.Load()
	live.Renew(true)
	soft := live.Load()
	if soft.Hard != first.Hard || soft.Soft == first.Soft {
		t.Error("a soft renewal does not change just the soft stamp")
	}
	live.Renew(false)
	hard := live.Load()
	if hard.Hard == soft.Hard || hard.Soft != soft.Soft {
		t.Error("a hard renewal does not change just the hard stamp")
	}
	if got := new(backend.LiveStamps).Load(); got != (backend.Stamps{}) {
		t.Errorf("the zero value holds %v", got)
	}
}
