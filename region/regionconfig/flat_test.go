package regionconfig_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionconfig"
)

// What dogpile.cache is configured with does here too.
func TestDogpileConfiguration(t *testing.T) {
	forever := region.Duration(region.Forever)
	for name, test := range map[string]struct {
		values     map[string]string
		backend    string
		expiration region.Duration
	}{
		"memory":    {map[string]string{"backend": "dogpile.cache.memory", "expiration_time": " 300 "}, "memory:", region.Duration(5 * time.Minute)},
		"pickle":    {map[string]string{"backend": "dogpile.cache.memory_pickle", "expiration_time": "0.5"}, "memory:", region.Duration(time.Second / 2)},
		"null":      {map[string]string{"backend": "dogpile.cache.null", "expiration_time": "-1"}, "null:", forever},
		"redis":     {map[string]string{"backend": "dogpile.cache.redis", "expiration_time": "None"}, "redis://localhost:6379/0", forever},
		"redis url": {map[string]string{"backend": "dogpile.cache.redis", "expiration_time": "1e2", "arguments.url": "redis://h/3"}, "redis://h/3", region.Duration(100 * time.Second)},
		"redis host": {map[string]string{
			"backend": "dogpile.cache.redis", "expiration_time": "1", "arguments.host": "10.0.0.1", "arguments.port": "6380", "arguments.db": "2",
			"arguments.password": "p@ss", "arguments.distributed_lock": "True", "arguments.lock_timeout": "30", "arguments.socket_timeout": "1.5",
			"arguments.redis_expiration_time": "7200", "arguments.username": "None",
		}, "redis://:p%40ss@10.0.0.1:6380/2?lease_ttl=30s&read_timeout=1.5s&write_timeout=1.5s", region.Duration(time.Second)},
		"valkey":     {map[string]string{"backend": "dogpile.cache.valkey", "expiration_time": "1", "arguments.host": "::1"}, "redis://[::1]:6379/0", region.Duration(time.Second)},
		"memcached":  {map[string]string{"backend": "dogpile.cache.pymemcache", "expiration_time": "1", "arguments.url": "['h1:11211', 'h2:11211']", "arguments.lock_timeout": "20"}, "memcached://h1:11211,h2:11211?lease_ttl=20s", region.Duration(time.Second)},
		"dbm":        {map[string]string{"backend": "dogpile.cache.dbm", "expiration_time": "1", "arguments.filename": "/var/cache/app.dbm"}, "file:///var/cache/app.dbm", region.Duration(time.Second)},
		"with extra": {map[string]string{"backend": "dogpile.cache.memory", "expiration_time": "1", "stale_for": "1h", "codec": "json"}, "memory:", region.Duration(time.Second)},
	} {
		values := map[string]string{}
		for key, value := range test.values {
			values["cache.users."+key] = value
		}
		setup, err := regionconfig.Flat("cache.", values)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := setup.Regions["users"]
		if got.Backend != test.backend || got.Expiration == nil || *got.Expiration != test.expiration {
			t.Errorf("%s: %s, %v, want %s, %v", name, got.Backend, time.Duration(*got.Expiration), test.backend, time.Duration(test.expiration))
		}
	}
}

func TestFlatMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		values map[string]string
		wants  [][]string
	}{
		"an unknown backend":      {map[string]string{"p.users.backend": "dogpile.cache.rediss"}, [][]string{{"p.users.backend: regions.users.backend: ", "did you mean dogpile.cache.redis?"}}},
		"an unknown argument":     {map[string]string{"p.users.backend": "dogpile.cache.redis", "p.users.arguments.hots": "h"}, [][]string{{"p.users.arguments.hots: ", "did you mean host?"}}},
		"arguments alone":         {map[string]string{"p.users.backend": "redis://h/0", "p.users.arguments.host": "h"}, [][]string{{"p.users.arguments.host: ", "into the URL"}}},
		"no servers":              {map[string]string{"p.users.backend": "dogpile.cache.memcached"}, [][]string{{"the argument url is missing"}}},
		"servers of another kind": {map[string]string{"p.users.backend": "dogpile.cache.memcached", "p.users.arguments.url": "redis://:secret@h:1/0"}, [][]string{{"no list of servers"}}},
		"a relative file":         {map[string]string{"p.users.backend": "dogpile.cache.dbm", "p.users.arguments.filename": "x"}, [][]string{{"full path"}}},
		"a user alone":            {map[string]string{"p.users.backend": "dogpile.cache.redis", "p.users.arguments.username": "u"}, [][]string{{"needs password"}}},
		"a bad time":              {map[string]string{"p.users.expiration_time": "soon"}, [][]string{{"p.users.expiration_time: ", "no number of seconds"}}},
		"a negative time":         {map[string]string{"p.users.expiration_time": "-5"}, [][]string{{"is negative"}}},
		"no time at all":          {map[string]string{"p.users.expiration_time": "nan"}, [][]string{{"no number of seconds"}}},
		"an endless time":         {map[string]string{"p.users.expiration_time": "1e300"}, [][]string{{"too many"}}},
		"a bad timeout":           {map[string]string{"p.users.backend": "dogpile.cache.redis", "p.users.arguments.lock_timeout": "-1"}, [][]string{{"no number of seconds"}}},
		"proxies":                 {map[string]string{"p.users.wrap": "x"}, [][]string{{"Config.Wrap"}}},
		"replacing":               {map[string]string{"p.users.replace_existing_backend": "true"}, [][]string{{"Region.Reconfigure"}}},
		"an unknown setting":      {map[string]string{"p.users.expiraton": "5m"}, [][]string{{"p.users.expiraton: ", "did you mean expiration?"}}},
		"a key without region":    {map[string]string{"p.expiration": "5m"}, [][]string{{"p.expiration: ", "the name of a region, a dot"}}},
		"several":                 {map[string]string{"p.a.expiration": "5", "p.b.refresh": "no"}, [][]string{{"write 5s"}, {"foreground or background"}}},
		"a variable":              {map[string]string{"p.backends.b": "redis://:${NOT_SET}@h/0"}, [][]string{{"p.backends.b: ", "NOT_SET is not set"}}},
		"a bool that is no bool":  {map[string]string{"p.a.disabled": "yes"}, [][]string{{"neither true nor false"}}},
	} {
		t.Run(name, func(t *testing.T) {
			setup, err := regionconfig.Flat("p.", test.values)
			if setup.Regions != nil {
				t.Error("something was loaded")
			}
			tells(t, err, test.wants...)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error has a password in it: %v", err)
			}
		})
	}
}
