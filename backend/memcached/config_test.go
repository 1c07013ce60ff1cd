package memcached_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
)

func TestURL(t *testing.T) {
	for rawURL, want := range map[string]string{
		"memcached://h":                        "",
		"memcached://h1:1,h2,[::1]:3":          "",
		"memcached://h/?prefix=a&lease_ttl=5s": "",
		"memcached://h?timeout=100ms&pool_size=8&max_value_size=4096&chunked=true&compress=false": "",
		"memcacheds://h?tls_insecure=true&tls_server_name=x":                                      "",
		"memcached://":                             "no host",
		"memcached://h,,g":                         "empty",
		"memcached://h,":                           "empty",
		"memcached://h:0":                          "1 to 65535",
		"memcached://h,h:11211":                    "twice",
		"memcached://me:secret@h":                  "knows no users",
		"memcached://h/0":                          "path",
		"memcached://h#x":                          "fragment",
		"memcached://h?prefx=a":                    `did you mean "prefix"`,
		"memcached://h?leasettl=3s":                `did you mean "lease_ttl"`,
		"memcached://h?nonsense=3s":                "there are prefix",
		"memcached://h?prefix=":                    "has no value",
		"memcached://h?prefix=a&prefix=b":          "given twice",
		"memcached://h?prefix=a%20b":               "space",
		"memcached://h?lease_ttl=1s":               "from 2s",
		"memcached://h?timeout=5":                  "unit",
		"memcached://h?pool_size=0":                "1 to 10000",
		"memcached://h?max_value_size=10":          "number of bytes",
		"memcached://h?chunked=yes":                "true or false",
		"memcached://h?tls_ca=x":                   "memcacheds://",
		"memcacheds://h?tls_ca=/does/not/exist":    "cannot be read",
		"memcached://h?prefix=%zz":                 "percent",
		"memcached://h?prefix=" + longText("x"):    "128",
		"memcached://h?lease_ttl=25h":              "24h",
		"memcacheds://h?tls_ca=" + "input_test.go": "no certificate",
	} {
		b, err := backend.Open(rawURL)
		switch {
		case want == "" && err != nil:
			t.Errorf("Open(%q) = %v", rawURL, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("Open(%q) = %v, want an error that says %q", rawURL, err, want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("Open(%q) = %v, which repeats a password", rawURL, err)
		}
		if b != nil {
			b.Close()
		}
	}
}

func longText(s string) string { return strings.Repeat(s, 129) }

func TestBrokenConfig(t *testing.T) {
	for want, cfg := range map[string]memcached.Config{
		"Servers is empty":           {},
		"LeaseTTL is 1s; 2 seconds":  {Servers: []string{"h"}, LeaseTTL: time.Second},
		"LeaseTTL is 100h":           {Servers: []string{"h"}, LeaseTTL: 100 * time.Hour},
		"Timeout is":                 {Servers: []string{"h"}, Timeout: 1},
		"MaxValueSize is 1;":         {Servers: []string{"h"}, MaxValueSize: 1},
		"MaxValueSize is 1073741824": {Servers: []string{"h"}, MaxValueSize: 1 << 30},
		"PoolSize is -1":             {Servers: []string{"h"}, PoolSize: -1},
		"has no host":                {Servers: []string{""}},
	} {
		b := memcached.New(cfg)
		if err := b.Err(); !errors.Is(err, memcached.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("Err = %v, want one that wraps ErrConfig and says %q", err, want)
		}
		keys, guards := []backend.Key{lateKey}, []backend.Guard{{Region: "users"}}
		_, err1 := b.Get(t.Context(), lateKey, guards)
		_, _, err2 := b.GetMulti(t.Context(), keys, guards)
		_, _, err3 := b.Acquire(t.Context(), keys, guards)
		_, err4 := b.Set(t.Context(), nil, guards)
		_, err5 := b.Stamps(t.Context(), guards)
		for i, err := range []error{err1, err2, err3, err4, err5, b.Delete(t.Context(), keys), b.Wait(t.Context(), keys), b.Renew(t.Context(), guards, true), b.Ping(t.Context())} {
			if !errors.Is(err, memcached.ErrConfig) {
				t.Errorf("call %d returns %v, want ErrConfig", i, err)
			}
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}
