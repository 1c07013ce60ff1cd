package regionpg_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/region/regionpg"
)

func TestConfig(t *testing.T) {
	const good = "postgres://127.0.0.1:1/x?sslmode=disable"
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for _, test := range []struct {
		cfg  regionpg.Config
		want string
	}{
		{regionpg.Config{URL: good}, "Channel is empty"},
		{regionpg.Config{URL: good, Channel: strings.Repeat("n", 64)}, "Channel has 64 bytes"},
		{regionpg.Config{URL: good, Channel: strings.Repeat("☃", 22)}, "Channel has 66 bytes"},
		{regionpg.Config{URL: good, Channel: "a\x00b"}, "zero byte"},
		{regionpg.Config{URL: good, Channel: "\xff"}, "not UTF-8"},
		{regionpg.Config{URL: good, Channel: "c", Keepalive: -1}, "Keepalive is -1ns"},
		{regionpg.Config{URL: good, Channel: "c", Timeout: -time.Second}, "Timeout is -1s"},
		{regionpg.Config{Channel: "c"}, "URL is empty"},
		{regionpg.Config{Channel: "c", URL: "mysql://u:SECRET@h/db"}, "another scheme"},
		{regionpg.Config{Channel: "c", URL: "postgress://u:SECRET@h/db?sslmode=disable"}, "another scheme"},
		{regionpg.Config{Channel: "c", URL: "u:SECRET@h/db"}, "cannot be read"},
		{regionpg.Config{Channel: "c", URL: "u:SECRET@h/db?sslmode=disable"}, "cannot be one"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SEC%RET@h/db"}, "cannot be read"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:1@SECRET@h/db"}, "an @ that is out of place"},
		{regionpg.Config{Channel: "c", URL: "postgresql://u:1/SECRET@h/db"}, "an @ that is out of place"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET/1@h/db"}, "an @ that is out of place"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET?x=1/y"}, "port"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:1?x@SECRET@h/db"}, "an @ that is out of place"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h:port/db"}, "port"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h:99999/db"}, "port"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h:1,i:2,j/db?port=1,2"}, "as many ports"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?sslmode=verify-full&sslrootcert=" + missing}, missing},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?sslmode=sometimes"}, "TLS"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?connect_timeout=soon"}, "connect_timeout"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?target_session_attrs=master"}, "target_session_attrs"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?channel_binding=maybe"}, "channel_binding"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?sslcertmode=maybe"}, "sslcertmode"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?require_auth=maybe"}, "require_auth"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?min_protocol_version=2"}, "min_protocol_version"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?max_protocol_version=2"}, "max_protocol_version"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?min_protocol_version=3.2&max_protocol_version=3.0"}, "above"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?statement_cache_capacity=x"}, "statement_cache_capacity"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?description_cache_capacity=x"}, "description_cache_capacity"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?default_query_exec_mode=x"}, "default_query_exec_mode"},
		{regionpg.Config{Channel: "c", URL: "postgres://u:SECRET@h/db?service=x&servicefile=" + missing}, "service"},
		{regionpg.Config{Channel: "c", URL: "host=h password='SECRET"}, "cannot be read"},
		{regionpg.Config{Channel: "c", URL: "host=h password=1 SECRET"}, "cannot be read"},
		{regionpg.Config{Channel: "c", URL: "host=h password=1 SEC+RET=2"}, "cannot be one"},
	} {
		source, err := regionpg.Listen(t.Context(), test.cfg)
		if !errors.Is(err, regionpg.ErrConfig) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v; want ErrConfig with %q", test.cfg, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "SEC") || strings.Contains(err.Error(), "RET")) {
			t.Errorf("%+v: the error has a part of the password in it: %v", test.cfg, err)
		}
		if source != nil {
			_ = source.Close()
		}
	}
}
