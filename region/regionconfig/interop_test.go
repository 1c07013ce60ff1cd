package regionconfig_test

import (
	"fmt"
	"strings"
	"testing"

	_ "github.com/dogpile-go/dogpile/backend/redis"
	_ "github.com/dogpile-go/dogpile/codec/dogpilepy"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionconfig"
)

func TestInterop(t *testing.T) {
	// Nothing listens there, and nothing is connected to yet.
	const defaults = "defaults: {backend: 'redis://127.0.0.1:1/0', expiration: 5m, interop: dogpilepy}\n"
	t.Run("good", func(t *testing.T) {
		setup, err := regionconfig.YAML("y", []byte(defaults+"regions: {users: {interop: 'dogpilepy?lock_prefix=_mine&steal_after=1m'}, reports: {interop: none}}"))
		if err != nil {
			t.Fatal(err)
		}
		got := configs(t, setup)
		if f := got["users"].Interop; f == nil || f.Name() != "dogpile.cache" || f.Layout().LockPrefix != "_mine" || f.Layout().StealAfter.Minutes() != 1 {
			t.Errorf("users has the format %+v; want dogpile.cache's, with the prefix _mine, that steals after a minute", f)
		}
		if f := got["reports"].Interop; f != nil {
			t.Errorf("reports has the format %+v; want none", f)
		}
	})

	for text, want := range map[string]string{
		"interop: dogpilpy":                                          "regions.users.interop",
		"interop: 'dogpilepy?lock_prefx=a'":                          "lock_prefix",
		"interop: dogpilepy, not_found_for: 1s":                      "NotFoundFor with Interop",
		"interop: dogpilepy, backend: 'memory:'":                     "*memory.Backend",
		"interop: dogpilepy, backend: 'redis+cluster://127.0.0.1:1'": "cluster",
	} {
		t.Run(text, func(t *testing.T) {
			setup, err := regionconfig.YAML("y", []byte("defaults: {backend: 'redis://127.0.0.1:1/0', expiration: 5m}\nregions: {reports: {}, users: {"+text+"}}"))
			if err != nil {
				t.Fatal(err)
			}
			if err = configured(t, setup, func(string, *region.Config) {}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want an error that has %q in it", text, err, want)
			}
		})
	}
}

// The lock_prefix of dogpile.cache's own configuration goes where it matters.
func TestLockPrefixOfDogpile(t *testing.T) {
	for interop, want := range map[string]string{
		"dogpilepy":                "_app",
		"dogpilepy?steal_after=1m": "_app",
		"none":                     "",
	} {
		t.Run(interop, func(t *testing.T) {
			setup, err := regionconfig.Flat("cache.", map[string]string{
				"cache.defaults.expiration":         "5m",
				"cache.users.backend":               "dogpile.cache.redis",
				"cache.users.arguments.host":        "127.0.0.1",
				"cache.users.arguments.lock_prefix": "_app",
				"cache.users.interop":               interop,
				"cache.reports.backend":             "memory:",
			})
			if err != nil {
				t.Fatal(err)
			}
			f := configs(t, setup)["users"].Interop
			if want == "" && f != nil || want != "" && (f == nil || f.Layout().LockPrefix != want) {
				t.Errorf("interop %s: the format is %+v; want the lock prefix %q", interop, f, want)
			}
		})
	}
}

// A region's own lock_prefix replaces that of the defaults.
func TestLockPrefixInsteadOfTheDefault(t *testing.T) {
	for defaults, want := range map[string]string{
		"dogpilepy":                "_app 0s",
		"dogpilepy?steal_after=1m": "_app 1m0s",
	} {
		t.Run(defaults, func(t *testing.T) {
			setup, err := regionconfig.Flat("cache.", map[string]string{
				"cache.defaults.expiration":            "5m",
				"cache.defaults.backend":               "dogpile.cache.redis",
				"cache.defaults.arguments.host":        "127.0.0.1",
				"cache.defaults.arguments.lock_prefix": "_def",
				"cache.defaults.interop":               defaults,
				"cache.users.backend":                  "dogpile.cache.redis",
				"cache.users.arguments.host":           "127.0.0.1",
				"cache.users.arguments.lock_prefix":    "_app",
				"cache.reports.not_found_for":          "0s",
			})
			if err != nil {
				t.Fatal(err)
			}
			layout := configs(t, setup)["users"].Interop.Layout()
			if got := fmt.Sprint(layout.LockPrefix, " ", layout.StealAfter); got != want {
				t.Errorf("%s: users has %s; want %s", defaults, got, want)
			}
		})
	}
}
