package backend_test

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
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

// opened is what the opener of "x-hosts" was last given.
var opened *url.URL

var errNotABackend = errors.New("only the URL is of interest")

func init() {
	err := backend.Register("x-hosts", func(u *url.URL) (backend.Backend, error) {
		opened = u
		return nil, errNotABackend
	})
	if err != nil {
		panic(err)
	}
}

func TestOpenSeveralHosts(t *testing.T) {
	for in, want := range map[string]string{
		"h1":                                  "h1",
		"h1:1":                                "h1:1",
		"h1,h2":                               "h1,h2",
		"h1:26379,h2:26379":                   "h1:26379,h2:26379",
		"h1,h2:2,h3":                          "h1,h2:2,h3",
		"[::1],[::2]":                         "[::1],[::2]",
		"[::1]:1,h2:2,[fe80::1%25eth0]:3":     "[::1]:1,h2:2,[fe80::1%eth0]:3",
		"[fe80::1%25a,b]:1":                   "[fe80::1%a,b]:1",
		"[fe80::1%25a,b]:1,h2":                "[fe80::1%a,b]:1,h2",
		"h%C3%A9:1,h2:2":                      "hé:1,h2:2",
		"h1,":                                 "h1,",
		",":                                   ",",
		"10.0.0.1:1,10.0.0.2:2,xn--a.test:03": "10.0.0.1:1,10.0.0.2:2,xn--a.test:03",
	} {
		// What stands around the hosts is read as it is around a single one.
		for _, around := range []string{
			"%s", "%s/", "%s/a%%2Fb/7", "%s?", "%s?x=a,b://c:1,d&y=/%%20", "%s/p?q=1#f,g",
			"user@%s", "user:p%%2Fw,x:@%s/3", ":pw@%s", "u@,v:1@%s#", "a:b,c:d@%s/?@,",
		} {
			opened = nil
			if _, err := backend.Open("X-Hosts://" + fmt.Sprintf(around, in)); !errors.Is(err, errNotABackend) {
				t.Errorf("%s around %q: %v; want the opener to be asked", around, in, err)
				continue
			}
			alone, err := url.Parse("X-Hosts://" + fmt.Sprintf(around, "alone"))
			if err != nil {
				t.Fatal(err)
			}
			alone.Host = want
			if !reflect.DeepEqual(opened, alone) {
				t.Errorf("%s around %q is read as %#v, want %#v", around, in, opened, alone)
			}
		}
	}
	for _, bad := range []string{
		"h1:x,h2:2", "h1:1,h2:x", "h1:1:2,h2", "h1,h2:1:2", "h1:sec,h2", "::1,h2", "[::1,h2", "h1,[::1", "h1,]::1[:2",
		"[secret]:1,h2:2", "h1,[1.2.3.4]:1", "h1,h 2", "h1,h%41", "h1,h%", "h1,h2\n", "h1,h2/%zz", "a b@h1,h2", "u:%sec@h1,h2",
	} {
		opened = nil
		_, err := backend.Open("x-hosts://" + bad)
		if err == nil || opened != nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("%q: %v; want an error that says it cannot be read", bad, err)
		}
		if err != nil && strings.Contains(err.Error(), "sec") {
			t.Errorf("the error shows the URL: %v", err)
		}
	}
	// These have no hosts, only commas and slashes in other places.
	for _, hostless := range []string{"x-hosts:a://b:1,c:2", "x-hosts:?x=a://b:1,c:2", "x-hosts:/a,b://c:1,d", "x-hosts:///a:1,b", "x-hosts:#a://b,c"} {
		if _, err := backend.Open(hostless); !errors.Is(err, errNotABackend) {
			t.Errorf("%q: %v; want the opener to be asked", hostless, err)
			continue
		}
		want, err := url.Parse(hostless)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(opened, want) {
			t.Errorf("%q is read as %#v, want %#v", hostless, opened, want)
		}
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
	if got := backend.Schemes(); !slices.Equal(got, []string{"memory", "null", "x-hosts"}) {
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
