package spelling

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"prefix", "lease_ttl", "pool_size", "dial_timeout", "read_timeout", "write_timeout", "client_name",
		"sentinel_username", "sentinel_password", "tls_ca", "tls_server_name", "tls_insecure"}
	for text, want := range map[string]string{
		"perfix":           "prefix",
		"prefx":            "prefix",
		"prefixx":          "prefix",
		"PREFIX":           "prefix",
		"poolsize":         "pool_size",
		"pool-size":        "pool_size",
		"read_timout":      "read_timeout",
		"raed_timeout":     "read_timeout",
		"write_timeuot":    "write_timeout",
		"leasettl":         "lease_ttl",
		"sentinel_user":    "sentinel_username",
		"sentinel_pasword": "sentinel_password",
		"tls_cert":         "tls_ca",
		"tls_insecur":      "tls_insecure",
		"":                 "",
		"x":                "",
		"db":               "",
		"protocol":         "",
		"zzzzzzzz":         "",
	} {
		if got := Nearest(text, names); got != want {
			t.Errorf("nearest to %q is %q, want %q", text, got, want)
		}
	}
	if got := Nearest("a", nil); got != "" {
		t.Errorf("nearest of nothing is %q", got)
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"abc", "abc", 0}, {"ab", "ba", 1}, {"abc", "bac", 1}, {"abc", "acb", 1},
		{"kitten", "sitting", 3}, {"abcd", "badc", 2}, {"ca", "abc", 3}, {"prefix", "perfix", 1}, {"xaby", "xbay", 1}, {"abc", "xyz", 3},
	} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q are %d edits, want %d", c.a, c.b, got, c.want)
		}
		if got := edits(c.b, c.a); got != c.want {
			t.Errorf("from %q to %q are %d edits, want %d", c.b, c.a, got, c.want)
		}
	}
}
