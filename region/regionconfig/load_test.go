package regionconfig_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/mangle"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionconfig"
)

// configs returns the configurations that the regions get.
func configs(t *testing.T, setup region.Setup) map[string]region.Config {
	t.Helper()
	got := map[string]region.Config{}
	if err := configured(t, setup, func(name string, c *region.Config) { got[name] = *c }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLoad(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_HOST", strings.TrimPrefix(server.URL(), "redis://"))
	setup, err := regionconfig.Load(file(t, "cache.yaml", `# Whatever is said of caching.
backends:
  fast: memory:?max_entries=100000
  shared: redis://${REDIS_HOST}/0?prefix=app
defaults: {backend: shared, expiration: 5m, stale_for: 1h, not_found_for: 3s}
regions:
  users:
    expiration: 10m
    refresh: background
    codec: JSON+zstd
    create_timeout: forever
    cancel_on_lease_lost: true
  reports: {backend: fast, stale_for: none, max_wait: 1m30s, close_timeout: 2s, not_found_for: 0s}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := configs(t, setup)
	u, r := got["users"], got["reports"]
	if u.Codec == nil || u.Codec.Name() != "json+zstd" {
		t.Errorf("the codec of users is %v", u.Codec)
	}
	if fmt.Sprintf("%T %T", u.Backend, r.Backend) != "*redis.Backend *memory.Backend" {
		t.Errorf("the backends are %T and %T", u.Backend, r.Backend)
	}
	u.Codec, u.Backend, r.Backend = nil, nil, nil
	for name, c := range map[string][2]region.Config{
		"users": {u, {
			Expiration: 10 * time.Minute, StaleFor: time.Hour, NotFoundFor: 3 * time.Second, Refresh: region.Background,
			CreateTimeout: region.Forever, CancelOnLeaseLost: true,
		}},
		"reports": {r, {
			Expiration: 5 * time.Minute, StaleFor: region.NoStale, MaxWait: 90 * time.Second, CloseTimeout: 2 * time.Second,
		}},
	} {
		if !reflect.DeepEqual(c[0], c[1]) {
			t.Errorf("%s is configured as\n%+v, want\n%+v", name, c[0], c[1])
		}
	}
	ctx := t.Context()
	if err := region.Set(ctx, users, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := region.Get[string](ctx, users, "k"); v != "v" || !ok || err != nil {
		t.Errorf("Get = %q, %v, %v", v, ok, err)
	}
}

func TestKeyManglers(t *testing.T) {
	const yaml = "defaults: {backend: 'memory:', expiration: 5m, key_mangler: sha1}\nregions: {users: {key_mangler: 'prefix:V2-'}, reports: {}}"
	setup, err := regionconfig.YAML("y", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	got := configs(t, setup)
	if u, r := got["users"].KeyMangler("k"), got["reports"].KeyMangler("k"); u != "V2-k" || r != mangle.SHA1("k") {
		t.Errorf("the keys are %q and %q, want those of prefix:V2- and of sha1", u, r)
	}
	for where, yaml := range map[string]string{
		"regions.users.key_mangler": "defaults: {backend: 'memory:', expiration: 5m}\nregions: {users: {key_mangler: sha265:200}, reports: {}}",
		"defaults.key_mangler":      "defaults: {backend: 'memory:', expiration: 5m, key_mangler: sha265:200}\nregions: {users: {}, reports: {key_mangler: sha1}}",
	} {
		setup, err := regionconfig.YAML("y", []byte(yaml))
		if err != nil {
			t.Fatal(err)
		}
		if err := setup.Check(); !errors.Is(err, mangle.ErrSpec) || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), `did you mean "sha256:200"`) {
			t.Errorf("Check = %v, want mangle.ErrSpec at %s", err, where)
		}
	}
}

// One URL is one backend, whether it has a name or not, and is closed with its last region.
func TestBackendsAreShared(t *testing.T) {
	for name, yaml := range map[string]string{
		"by name": "backends: {b: 'memory:'}\ndefaults: {backend: b, expiration: 5m}\nregions: {users: {}, reports: {}}",
		"by URL":  "defaults: {expiration: 5m}\nregions: {users: {backend: 'memory:'}, reports: {backend: 'memory:'}}",
	} {
		t.Run(name, func(t *testing.T) {
			setup, err := regionconfig.YAML("y", []byte(yaml))
			if err != nil {
				t.Fatal(err)
			}
			got := configs(t, setup)
			shared := got["users"].Backend
			if shared != got["reports"].Backend {
				t.Fatal("the regions have backends of their own")
			}
			if err := users.Close(); err != nil {
				t.Error(err)
			}
			if _, err := shared.Get(t.Context(), backend.Key{}, nil); err != nil {
				t.Errorf("the backend is closed before its last region: %v", err)
			}
			if err := reports.Close(); err != nil {
				t.Error(err)
			}
			if _, err := shared.Get(t.Context(), backend.Key{}, nil); err == nil {
				t.Error("the backend outlives its last region")
			}
		})
	}
}

// Whichever library loads a Setup, it is the same.
func TestFormatsAgree(t *testing.T) {
	const asYAML = `
x-common: &common {expiration: 10m, stale_for: 1h}
backends: {fast: "memory:?max_entries=10"}
defaults: {<<: *common, backend: fast}
regions:
  users: {<<: [*common, {expiration: 1h}], expiration: 1m, disabled: True}
  reports: {refresh: background, create_timeout: forever, stale_for: none}
`
	const asJSON = `{
	"backends": {"fast": "memory:?max_entries=10"},
	"defaults": {"backend": "fast", "expiration": "10m", "stale_for": "1h"},
	"regions": {
		"users": {"expiration": "1m", "stale_for": "1h", "disabled": true},
		"reports": {"refresh": "background", "create_timeout": "forever", "stale_for": "none"}
	}
}`
	want := region.Setup{
		Backends: map[string]string{"fast": "memory:?max_entries=10"},
		Defaults: region.RegionSetup{Backend: "fast", Expiration: new(region.Duration(10 * time.Minute)), StaleFor: new(region.Duration(time.Hour))},
		Regions: map[string]region.RegionSetup{
			"users":   {Expiration: new(region.Duration(time.Minute)), StaleFor: new(region.Duration(time.Hour)), Disabled: new(true)},
			"reports": {Refresh: new(region.Background), CreateTimeout: new(region.Duration(region.Forever)), StaleFor: new(region.Duration(region.NoStale))},
		},
	}
	got := map[string]func() (region.Setup, error){
		"YAML":              func() (region.Setup, error) { return regionconfig.YAML("y", []byte(asYAML)) },
		"JSON":              func() (region.Setup, error) { return regionconfig.JSON("j", []byte(asJSON)) },
		"a YAML file":       func() (region.Setup, error) { return regionconfig.Load(file(t, "c.yml", asYAML)) },
		"a JSON file":       func() (region.Setup, error) { return regionconfig.Load(file(t, "c.JSON", asJSON)) },
		"JSON as YAML":      func() (region.Setup, error) { return regionconfig.YAML("y", []byte(asJSON)) },
		"a library of JSON": func() (s region.Setup, err error) { return s, json.Unmarshal([]byte(asJSON), &s) },
		"a library of YAML": func() (s region.Setup, err error) { return s, yaml.Unmarshal([]byte(asYAML), &s) },
		"JSON there and back": func() (s region.Setup, err error) {
			data, err := json.Marshal(want)
			if err != nil {
				return s, err
			}
			return regionconfig.JSON("j", data)
		},
		"YAML there and back": func() (s region.Setup, err error) {
			data, err := yaml.Marshal(want)
			if err != nil {
				return s, err
			}
			return regionconfig.YAML("y", data)
		},
		"a flat map": func() (region.Setup, error) {
			return regionconfig.Flat("cache.", map[string]string{
				"cache.backends.fast":                "memory:?max_entries=10",
				"cache.defaults.backend":             " fast",
				"cache.defaults.expiration":          "10m",
				"cache.defaults.stale_for":           "1h",
				"cache.users.expiration":             "1m",
				"cache.regions.users.stale_for":      "1h",
				"cache.users.disabled":               "true",
				"cache.reports.refresh":              "background",
				"cache.reports.create_timeout":       "forever",
				"cache.regions.reports.stale_for":    "none",
				"other.users.expiration":             "not ours",
				"cachet.users.neither":               "not ours",
				"cache":                              "not ours",
				"something.cache.users.expiration":   "not ours",
				"something.cache.users.expiration.x": "not ours",
			})
		},
	}
	for name, load := range got {
		setup, err := load()
		setup.Origin = nil
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(setup, want) {
			t.Errorf("%s:\n%s, want\n%s", name, render(setup), render(want))
		}
	}
}

func render(s region.Setup) string {
	data, err := json.Marshal(s)
	return fmt.Sprint(string(data), err)
}

// What is malformed in JSON is told by its line as well.
func TestMalformedJSON(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "x:1: the file is empty",
		"null":                           "x:1: the file is empty",
		"[]":                             "x:1: the file is a list",
		"{\n\"regions\": {\n":            "x:3: the JSON ends too early",
		"{\n\"regions\": {},,\n":         "x:2: this is no JSON",
		"{\n\"regions\": {}\n}\n{}":      "x:4: something stands behind the end",
		"{\n\"regions\": {}\n}\n]":       "x:4: something stands behind the end",
		"{\n'regions': {}\n}":            "x:2: this is no JSON",
		"{\"regions\": {\n\"a\": 5}}":    "x:2: regions.a: is a number",
		"{\"regions\": {\n\"a\": null}}": "x:2: regions.a: is empty",
		"{\"regions\": {\n\"a\": {\"expiration\":\n 300}}}":                "x:2: regions.a.expiration: \"300\" has no unit",
		"{\"regions\": {\n\"a\": {}, \n\"a\": {}}}":                        "x:3: \"a\" stands here a second time, after line 2",
		"{\n\"region\": {}}":                                               "x:2: region: there is no section",
		strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000):        "x:1: the file is nested deeper",
		"{\"a\":" + strings.Repeat("{\"a\":", 100_000):                     "x:1: the file is nested deeper",
		"{\"regions\": [" + strings.Repeat("1,", 400_000) + "1]}":          "x:1: the file has more than",
		"{\"regions\": {\"a\": {\"refresh\": \"\\ud83d\\ude00\"}}}":        "x:1: regions.a.refresh: \"😀\"",
		"{\"regions\": {\"a\": {\"cancel_on_lease_lost\": \"true\"}}}":     "x:1: regions.a.cancel_on_lease_lost: is a text",
		"{\"regions\": {\"a\": {}}, \"backends\": {\"b\": [\"memory:\"]}}": "x:1: backends.b: is a list",
	} {
		_, err := regionconfig.JSON("x", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q in it", text, err, want)
		}
	}
}

// A password may have any characters in it, and is never repeated in an error.
func TestVariablesInURLs(t *testing.T) {
	const password = "p@ss/w:o?r#d%41 ${X}"
	server := redistest.Start(t)
	server.Do(t, "config", "set", "requirepass", password)
	addr := strings.TrimPrefix(server.URL(), "redis://")
	t.Setenv("REDIS_PASSWORD", password)
	t.Setenv("REDIS_ADDR", addr)
	t.Setenv("REDIS_URL", "redis://:p%40ss%2Fw%3Ao%3Fr%23d%2541%20$%7BX%7D@"+addr+"/0")
	for _, url := range []string{"redis://:${REDIS_PASSWORD}@${REDIS_ADDR}/0", "${REDIS_URL}"} {
		setup, err := regionconfig.YAML("x", []byte("defaults: {backend: '"+url+"', expiration: 5m}\nregions: {users: {}, reports: {}}"))
		if err != nil {
			t.Fatal(err)
		}
		if err := configured(t, setup); err != nil {
			t.Fatal(err)
		}
		if err := region.Set(t.Context(), users, "k", "v"); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if err := users.Close(); err != nil {
			t.Error(err)
		}
		if err := reports.Close(); err != nil {
			t.Error(err)
		}
	}
	literal, err := regionconfig.YAML("x", []byte("backends: {b: 'memory:?$${REDIS_URL}$$'}\nregions: {}"))
	if got := literal.Backends["b"]; got != "memory:?${REDIS_URL}$$" || err != nil {
		t.Errorf("the URL is %q, %v", got, err)
	}
	t.Setenv("REDIS_ADDR", "h:not-a-port")
	setup, err := regionconfig.YAML("x", []byte("defaults: {backend: 'redis://:${REDIS_PASSWORD}@${REDIS_ADDR}/0', expiration: 5m}\nregions: {users: {}, reports: {}}"))
	if err != nil {
		t.Fatal(err)
	}
	if err = configured(t, setup); err == nil || strings.Contains(err.Error(), "p%40") || strings.Contains(err.Error(), "p@ss") {
		t.Errorf("the error is %v", err)
	}
}

// A region that is configured already is not configured by the way, nor are the others.
func TestAllOrNothing(t *testing.T) {
	setup := region.Setup{
		Defaults: region.RegionSetup{Backend: "memory:", Expiration: new(region.Duration(time.Minute))},
		Regions:  map[string]region.RegionSetup{"users": {}, "reports": {}},
	}
	if err := configured(t, setup, nil); err != nil { // nil changes nothing
		t.Fatal(err)
	}
	if err := users.Close(); err != nil {
		t.Fatal(err)
	}
	tells(t, region.ConfigureAll(setup), []string{"regions.reports", "configured already"})
	if _, _, err := region.Get[string](t.Context(), users, "k"); err == nil {
		t.Error("users is configured although reports could not be")
	}
	// What is configured in Go need not stand in the setup.
	delete(setup.Regions, "reports")
	if err := region.ConfigureAll(setup); err != nil {
		t.Error(err)
	}
	if err := reports.Close(); err != nil {
		t.Fatal(err)
	}
	if err := users.Close(); err != nil {
		t.Fatal(err)
	}
	setup.Regions["reports"] = region.RegionSetup{}
	opened := map[string]backend.Backend{}
	tells(t, configured(t, setup, func(name string, c *region.Config) {
		opened[name] = c.Backend
		if name == "users" {
			c.MaxWait = -5
		}
	}), []string{"regions.users", "MaxWait is negative"})
	if _, err := opened["reports"].Get(t.Context(), backend.Key{}, nil); err == nil {
		t.Error("a backend is open although nothing was configured")
	}
}

// Of several at the same time one configures the regions, and the others say so.
func TestConfigureAllTwiceAtOnce(t *testing.T) {
	setup := region.Setup{
		Defaults: region.RegionSetup{Backend: "memory:", Expiration: new(region.Duration(time.Minute))},
		Regions:  map[string]region.RegionSetup{"users": {}, "reports": {}},
	}
	const callers = 2
	var ready sync.WaitGroup
	ready.Add(callers)
	errs := make(chan error, callers)
	for range callers {
		go func() {
			var once sync.Once
			errs <- region.ConfigureAll(setup, func(string, *region.Config) {
				once.Do(func() { ready.Done(); ready.Wait() }) // both have found the regions free
			})
		}()
	}
	t.Cleanup(func() {
		if err := errors.Join(users.Close(), reports.Close()); err != nil {
			t.Error(err)
		}
	})
	first, second := <-errs, <-errs
	if first != nil {
		first, second = second, first
	}
	if first != nil {
		t.Fatal(first, second)
	}
	tells(t, second, []string{"regions.reports", "configured already"}, []string{"regions.users", "configured already"})
	if !errors.Is(second, region.ErrAlreadyConfigured) {
		t.Errorf("the error is %v, want ErrAlreadyConfigured", second)
	}
}

// A backend that was not opened by ConfigureAll is not closed by it.
func TestAFailedConfigureAllLeavesOthersBackends(t *testing.T) {
	own := memory.New(memory.Config{})
	defer own.Close()
	tells(t, configured(t, region.Setup{
		Defaults: region.RegionSetup{Backend: "memory:", Expiration: new(region.Duration(time.Minute))},
		Regions:  map[string]region.RegionSetup{"users": {}, "reports": {}},
	}, func(name string, c *region.Config) {
		if name == "reports" {
			c.Backend = own
		} else {
			c.MaxWait = -5
		}
	}), []string{"regions.users", "MaxWait is negative"})
	if _, err := own.Get(t.Context(), backend.Key{}, nil); err != nil {
		t.Errorf("the backend of the caller is closed: %v", err)
	}
}

// DOGPILE_DISABLE takes the cache away from the regions of a setup too.
func TestDisable(t *testing.T) {
	t.Setenv("DOGPILE_DISABLE", "1")
	setup, err := regionconfig.Load(file(t, "c.yaml", good))
	if err != nil {
		t.Fatal(err)
	}
	if err := configured(t, setup); err != nil {
		t.Fatal(err)
	}
	calls := 0
	for range 3 {
		if _, err := region.GetOrCreate(t.Context(), reports, "k", func(context.Context) (int, error) { calls++; return 1, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 3 {
		t.Errorf("the creator ran %d times for 3 calls, want 3", calls)
	}
}
