package pythontest_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/internal/pythontest"
)

// What dogpile.cache sends to memcached through pymemcache.
func TestMemcachedCommands(t *testing.T) {
	t.Parallel()
	server := memcachedtest.Start(t)
	w := pythontest.Start(t)
	expire := map[string]any{"memcached_expire_time": 60}
	// The backend of pymemcache takes no notice of the argument up to 1.3.2.
	exptime := "0"
	if w.AtLeast("1.3.3") {
		exptime = "60"
	}
	for _, test := range []struct {
		name      string
		arguments map[string]any
		do        func(r *pythontest.Region) error
		want      []string
	}{
		{"get", nil, func(r *pythontest.Region) error { _, err := r.Get("k"); return err }, []string{"get k"}},
		{"get_multi", nil, func(r *pythontest.Region) error { _, err := r.GetMulti([]string{"k", "l"}); return err }, []string{"get k l"}},
		{"set", nil, func(r *pythontest.Region) error { return r.Set("k", "v") }, []string{"set k 0 0 LENGTH", `VALUE"v"`}},
		{"set that expires", expire, func(r *pythontest.Region) error { return r.Set("k", "v") }, []string{"set k 0 " + exptime + " LENGTH", `VALUE"v"`}},
		{"set_multi", expire, func(r *pythontest.Region) error { return r.SetMulti(map[string]any{"k": 1, "l": 2}) },
			[]string{"set k 0 " + exptime + " LENGTH", "VALUE1", "set l 0 " + exptime + " LENGTH", "VALUE2"}},
		{"delete", nil, func(r *pythontest.Region) error { return r.Delete("k") }, []string{"delete k"}},
		{"delete_multi", nil, func(r *pythontest.Region) error { return r.DeleteMulti([]string{"k", "l"}) }, []string{"delete k", "delete l"}},
	} {
		proxy := faultproxy.New(t, server.Addr)
		arguments := map[string]any{"url": []string{proxy.Addr}}
		for name, v := range test.arguments {
			arguments[name] = v
		}
		region := w.Region(pythontest.RegionConfig{Backend: pythontest.Memcached, Serializer: "json", Arguments: arguments})
		if err := test.do(region); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := memcachedLines(proxy); !slices.Equal(got, test.want) {
			t.Errorf("%s sends %q, want %q", test.name, got, test.want)
		}
	}
}

// Without a serializer of the region, the client pickles the tuple of value and metadata,
// a class of dogpile.cache.
func TestMemcachedWithoutSerializer(t *testing.T) {
	t.Parallel()
	server := memcachedtest.Start(t)
	region := pythontest.Start(t).Region(pythontest.RegionConfig{Backend: pythontest.Memcached,
		Arguments: map[string]any{"url": []string{server.Addr}}})
	if err := region.Set("k", 2); err != nil {
		t.Fatal(err)
	}
	got := server.Do(t, "get k")
	if !strings.HasPrefix(got, "VALUE k 1 ") || !strings.Contains(got, "\x80\x05") ||
		!strings.Contains(got, "dogpile.cache.api") || !strings.Contains(got, "CachedValue") {
		t.Errorf("it is stored as %q, want flags of 1 and a pickle of a CachedValue", got)
	}
}

// The lock: what is sent to take it, to ask for it, and to release it.
func TestMemcachedLockProtocol(t *testing.T) {
	t.Parallel()
	w := pythontest.Start(t)
	for _, test := range []struct {
		name    string
		timeout any
		add     string
	}{
		{"without a timeout", nil, "add _lockk 2 0 1"},
		{"with a timeout", 30, "add _lockk 2 30 1"},
	} {
		server := memcachedtest.Start(t)
		proxy := faultproxy.New(t, server.Addr)
		arguments := map[string]any{"url": []string{proxy.Addr}, "distributed_lock": true}
		if test.timeout != nil {
			arguments["lock_timeout"] = test.timeout
		}
		region := w.Region(pythontest.RegionConfig{Backend: pythontest.Memcached, Serializer: "json", Expiration: time.Hour, Arguments: arguments})
		call := region.StartGetOrCreate("k", pythontest.Creator{Value: 1, Hold: true})
		call.AwaitCreating(t)
		if got := server.Do(t, "get _lockk"); got != "VALUE _lockk 2 1\r\n1\r\nEND" {
			t.Errorf("%s: the lock is %q, want 1 with flags of 2", test.name, got)
		}
		if locked, err := region.KeyIsLocked("k"); err != nil || !locked {
			t.Errorf("%s: key_is_locked = %v, %v while it is held", test.name, locked, err)
		}
		if taken, err := region.Lock("k").TryTake(); err != nil || taken {
			t.Errorf("%s: a lock that is held is taken: %v, %v", test.name, taken, err)
		}
		call.Release()
		if _, err := call.Value(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		want := []string{"get k", test.add, "1", "get k",
			"get _lockk",  // key_is_locked
			test.add, "1", // the one that does not get it
			"set k 0 0 LENGTH", "VALUE1", "delete _lockk"}
		if got := memcachedLines(proxy); !slices.Equal(got, want) {
			t.Errorf("%s: the commands are %q, want %q", test.name, got, want)
		}
	}
}

// Nobody owns a lock on memcached: who releases it takes it from whoever has it.
func TestMemcachedLockHasNoOwner(t *testing.T) {
	t.Parallel()
	server := memcachedtest.Start(t)
	region := pythontest.Start(t).Region(pythontest.RegionConfig{Backend: pythontest.Memcached, Serializer: "json",
		Arguments: map[string]any{"url": []string{server.Addr}, "distributed_lock": true}})
	lock := region.Lock("k")
	if err := lock.Take(); err != nil {
		t.Fatal(err)
	}
	server.Do(t, "set _lockk 0 0 8", "somebody")
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	if got := server.Do(t, "get _lockk"); got != "END" {
		t.Errorf("the lock of another is %q after release, want that it is gone", got)
	}
}

// memcachedLines are the lines that went through the proxy, without those of a client
// that asks a server for its version.
func memcachedLines(proxy *faultproxy.Proxy) []string {
	var text strings.Builder
	for _, r := range proxy.Requests() {
		text.Write(r)
	}
	var all []string
	for line := range strings.SplitSeq(text.String(), "\r\n") {
		line = strings.TrimSuffix(line, " noreply")
		line = regexp.MustCompile(metadata).ReplaceAllString(line, "VALUE")
		line = regexp.MustCompile(`^(set \S+ \d+ \d+) \d+$`).ReplaceAllString(line, "$1 LENGTH")
		if line != "" && line != "version" {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}
