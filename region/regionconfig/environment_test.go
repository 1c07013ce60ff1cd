package regionconfig_test

import (
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionconfig"
)

func TestEnvironment(t *testing.T) {
	for variable, value := range map[string]string{
		"DOGPILE_USERS_BACKEND":             "other",
		"DOGPILE_REPORTS_EXPIRATION":        "2h",
		"DOGPILE_DEFAULTS_STALE_FOR":        "30s",
		"DOGPILE_BACKENDS_SHARED":           "memory:?max_entries=5",
		"DOGPILE_BACKENDS_OTHER":            "memory:",
		"DOGPILE_USERS_MAX_WAIT":            "",
		"DOGPILE_SERVICE_HOST":              "10.0.0.1", // of a service that is called dogpile
		"DOGPILE_PORT_6379_TCP_ADDR":        "10.0.0.1",
		"DOGPILE_SERVICE_PORT_REDIS":        "6379",
		"DOGPILE_AESGCM_KEYS":               "",
		"DOGPILES_ARE_NOT_OURS":             "x",
		"DOGPILE_":                          "x",
		"DOGPILE_TEST_SERVERS":              "x", // somebody else's
		"DOGPILE_LONG":                      "x",
		"dogpile_users_backend":             "x",
		"SOMETHING_DOGPILE_USERS_CODEC":     "x",
		"DOGPILE_DISABLE":                   "0",
		"DOGPILE_REPORTS_NOT_FOUND_FOR":     "1s",
		"DOGPILE_REPORTS_REFRESH":           "background",
		"DOGPILE_USERS_DISABLED":            "true",
		"DOGPILE_DEFAULTS_CREATE_TIMEOUT":   "forever",
		"DOGPILE_DEFAULTS_CANCEL_ON_LEASE":  "",
		"DOGPILE_USERS_CODEC":               "json+gzip",
		"DOGPILE_REPORTS_CLOSE_TIMEOUT":     "1s",
		"DOGPILE_REPORTS_CANCEL_ON_LEASE_X": "",
	} {
		t.Setenv(variable, value)
	}
	setup, err := regionconfig.Load(file(t, "c.yaml", good))
	if err != nil {
		t.Fatal(err)
	}
	got := configs(t, setup)
	u, r := got["users"], got["reports"]
	if u.Expiration != 10*time.Minute || u.StaleFor != 30*time.Second || u.CreateTimeout != region.Forever || u.Codec.Name() != "json+gzip" || !u.Disabled {
		t.Errorf("users is configured as %+v", u)
	}
	if r.Expiration != 2*time.Hour || r.NotFoundFor != time.Second || r.Refresh != region.Background {
		t.Errorf("reports is configured as %+v", r)
	}
	for name, want := range map[string]string{
		"backends.shared":             "DOGPILE_BACKENDS_SHARED",
		"regions.users.backend":       "DOGPILE_USERS_BACKEND",
		"regions.reports.expiration":  "DOGPILE_REPORTS_EXPIRATION",
		"backends.other":              "DOGPILE_BACKENDS_OTHER",
		"defaults.stale_for":          "DOGPILE_DEFAULTS_STALE_FOR",
		"regions.reports.close_never": "",
	} {
		if at := setup.Origin(name); at != want {
			t.Errorf("%s stands at %q, want %q", name, at, want)
		}
	}
	if setup.Backends["shared"] != "memory:?max_entries=5" || setup.Backends["other"] != "memory:" {
		t.Errorf("the backends are %v", setup.Backends)
	}
}

// The environment alone will do.
func TestOnlyEnvironment(t *testing.T) {
	var setup region.Setup
	if err := regionconfig.Override(&setup, []string{"DOGPILE_USERS_BACKEND=memory:", "DOGPILE_REPORTS_BACKEND=memory:", "DOGPILE_DEFAULTS_EXPIRATION=5m"}); err != nil {
		t.Fatal(err)
	}
	if c := configs(t, setup)["users"]; c.Expiration != 5*time.Minute {
		t.Errorf("users is configured as %+v", c)
	}
}

// A variable that a URL asks for may have any name.
func TestVariablesOfURLs(t *testing.T) {
	t.Setenv("DOGPILE_USERS_PASSWORD", "secret")
	path := file(t, "c.yaml", "defaults: {backend: 'redis://:${DOGPILE_USERS_PASSWORD}@127.0.0.1/0', expiration: 5m}\nregions: {users: {}, reports: {}}")
	if _, err := regionconfig.Load(path); err != nil {
		t.Error(err)
	}
	t.Setenv("DOGPILE_USERS_PASWORD", "secret")
	_, err := regionconfig.Load(path)
	tells(t, err, []string{"DOGPILE_USERS_PASWORD: ", "no environment variable"})
}

// What another URL takes the place of need not have its variables.
func TestOverriddenURLsNeedNoVariables(t *testing.T) {
	for variable, url := range map[string]string{
		"DOGPILE_BACKENDS_SHARED":  "backends: {shared: 'redis://:${NOT_SET}@h/0'}\ndefaults: {backend: shared, expiration: 5m}\n",
		"DOGPILE_DEFAULTS_BACKEND": "defaults: {backend: 'redis://:${NOT_SET}@h/0', expiration: 5m}\n",
	} {
		path := file(t, "c.yaml", url+"regions: {users: {}, reports: {}}")
		_, err := regionconfig.Load(path)
		tells(t, err, []string{"the environment variable NOT_SET is not set"})
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "memory:")
			setup, err := regionconfig.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			configs(t, setup)
		})
	}
}

func TestEnvironmentMistakes(t *testing.T) {
	for variable, wants := range map[string][]string{
		"DOGPILE_USERS_EXPIRATON=5m":       {"DOGPILE_USERS_EXPIRATON: ", "did you mean DOGPILE_USERS_EXPIRATION?"},
		"DOGPILE_USRES_BACKEND=memory:":    {"did you mean DOGPILE_USERS_BACKEND?"},
		"DOGPILE_USERS_EXPIRATION=300":     {"DOGPILE_USERS_EXPIRATION: regions.users.expiration: ", "write 300s"},
		"DOGPILE_USERS_EXPIRATION=-5m":     {"regions.users.expiration: ", "is negative"},
		"DOGPILE_DEFAULTS_REFRESH=no":      {"DOGPILE_DEFAULTS_REFRESH: defaults.refresh: "},
		"DOGPILE_USERS_DISABLED=yes":       {"neither true nor false"},
		"DOGPILE_BACKENDS_=memory:":        {"no environment variable"},
		"DOGPILE_BACKENDS_SHERED=memory:":  {"DOGPILE_BACKENDS_SHERED: backends.shered: ", `did you mean "shared"?`},
		"DOGPILE_DEFAULTS_EXPIRES=5m":      {"did you mean DOGPILE_DEFAULTS_EXPIRATION?"},
		"DOGPILE_EXPIRATION=5m":            {"no environment variable"},
		"DOGPILE_USERS_CANCEL_ON_LEASE_=1": {"did you mean DOGPILE_USERS_CANCEL_ON_LEASE_LOST?"},
	} {
		setup, err := regionconfig.YAML("x", []byte(good))
		if err != nil {
			t.Fatal(err)
		}
		before := render(setup)
		tells(t, regionconfig.Override(&setup, []string{variable}), wants)
		if render(setup) != before {
			t.Errorf("%s changes the setup though it is refused", variable)
		}
	}
	// Names that come to the same cannot be told apart.
	setup := region.Setup{Regions: map[string]region.RegionSetup{"a.b": {}, "a-b": {}}}
	tells(t, regionconfig.Override(&setup, []string{"DOGPILE_A_B_BACKEND=memory:"}), []string{"regions.a-b or regions.a.b"})
}

func TestDisableMistake(t *testing.T) {
	t.Setenv("DOGPILE_DISABLE", "please")
	setup, err := regionconfig.Load(file(t, "c.yaml", good))
	if err != nil {
		t.Fatal(err)
	}
	tells(t, configured(t, setup), []string{"regions.reports", "DOGPILE_DISABLE"}, []string{"regions.users", "DOGPILE_DISABLE"})
	unconfigured(t)
}
