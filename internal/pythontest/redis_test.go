package pythontest_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/pythontest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// The metadata in front of a value: Python's json.dumps of the time and the version.
const metadata = `^\{"ct": [0-9]+\.[0-9]+, "v": 2\}\|`

// What dogpile.cache stores on Redis.
func TestRedisValues(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	prefix := redistest.Prefix(t)
	w := pythontest.Start(t)
	// The default is that of Python: 4 up to 3.13, 5 since.
	pickled := map[bool]string{false: "\x80\x04", true: "\x80\x05"}[!strings.HasPrefix(w.Versions["python"], "3.1") || w.Versions["python"] >= "3.14"]
	for _, test := range []struct {
		serializer string
		value      any
		want       string
	}{
		{"", 2, pickled + "K\x02."},
		{"pickle", "x", pickled + "\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x\x94."},
		{"pickle:0", 2, "I2\n."},
		{"pickle:2", map[string]any{"a": []any{1, nil, true}}, "\x80\x02}q\x00X\x01\x00\x00\x00aq\x01]q\x02(K\x01N\x88es."},
		{"pickle:5", pythontest.Py("b'x'"), "\x80\x05\x95\x05\x00\x00\x00\x00\x00\x00\x00C\x01x\x94."},
		{"json", pythontest.Py("{'a': 1, 'b': [1, 2, None, True], 's': 'drôle|pipe'}"),
			`{"a": 1, "b": [1, 2, null, true], "s": "dr\u00f4le|pipe"}`},
		{"json", nil, "null"},
		{"json", pythontest.Py("float('nan')"), "NaN"},
		{"json", pythontest.Py("2**70"), "1180591620717411303424"},
		{"json", pythontest.Py("{1: (2.0, -0.5e-7)}"), `{"1": [2.0, -5e-08]}`},
		{"msgpack", map[string]any{"a": []any{1, "é", nil}}, "\x81\xa1a\x93\x01\xa2\xc3\xa9\xc0"},
		{"msgpack", pythontest.Py("b'x'"), "\xc4\x01x"},
		{"raw", pythontest.Py(`b'\x00|\xff'`), "\x00|\xff"},
	} {
		region := w.Region(pythontest.RegionConfig{Backend: pythontest.Redis, Serializer: test.serializer,
			Arguments: map[string]any{"url": server.URL()}})
		key := prefix + "k"
		if err := region.Set(key, test.value); err != nil {
			t.Errorf("set of %v as %s: %v", test.value, test.serializer, err)
			continue
		}
		stored := server.Do(t, "GET", key).(string)
		if head := regexp.MustCompile(metadata).FindString(stored); head == "" || stored[len(head):] != test.want {
			t.Errorf("%v as %q is stored as %q, want the metadata and %q", test.value, test.serializer, stored, test.want)
		}
		if ttl := server.Do(t, "PTTL", key); ttl != int64(-1) {
			t.Errorf("the value has a TTL of %v ms, want none", ttl)
		}
	}
}

// What dogpile.cache makes of values that others have stored.
func TestRedisForeignValues(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	key := redistest.Prefix(t) + "k"
	region := pythontest.Start(t).Region(pythontest.RegionConfig{Backend: pythontest.Redis, Serializer: "json",
		Arguments: map[string]any{"url": server.URL()}, Expiration: time.Hour})
	now := fmt.Sprintf("%.6f", float64(time.Now().UnixMicro())/1e6)
	for _, test := range []struct {
		stored, get, created string // "" is an exception
	}{
		{`{"ct": ` + now + `, "v": 2}|1`, "1", "1"},
		{`{"ct":` + now + `,"v":2}|"a|b"`, `"a|b"`, `"a|b"`},
		{`{"v": 2, "more": "x", "ct": ` + now + `}|1`, "1", "1"},
		{`{"v": 2.0, "ct": ` + fmt.Sprintf("%.6e", float64(time.Now().Unix())) + `}|1`, "1", "1"},
		{`{"ct": ` + now + `, "v": 1}|1`, "1", `"new"`},
		{`{"ct": 1000.5, "v": 2}|1`, "", `"new"`}, // long expired
		{`{"ct": ` + now + `, "v": 2}`, "!", "!"},
		{`rubbish`, "!", "!"},
		{``, "!", "!"},
	} {
		server.Do(t, "SET", key, test.stored)
		got, err := region.Get(key)
		if test.get == "!" && err == nil || test.get != "!" && (err != nil || got.JSON != test.get) {
			t.Errorf("get of %q = %v, %v; want %q", test.stored, got, err, test.get)
		}
		got, err = region.GetOrCreate(key, pythontest.Creator{Value: "new"})
		if test.created == "!" && err == nil || test.created != "!" && (err != nil || got.JSON != test.created) {
			t.Errorf("get_or_create of %q = %v, %v; want %q", test.stored, got, err, test.created)
		}
	}
}

// Which commands dogpile.cache sends to Redis.
func TestRedisCommands(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := pythontest.Start(t)
	region := func(proxy *faultproxy.Proxy, more map[string]any) *pythontest.Region {
		arguments := map[string]any{"url": "redis://" + proxy.Addr}
		for name, v := range more {
			arguments[name] = v
		}
		return w.Region(pythontest.RegionConfig{Backend: pythontest.Redis, Serializer: "raw", Arguments: arguments, KeyMangler: "prefix:p:"})
	}
	b := pythontest.Py("b'v'")
	for _, test := range []struct {
		name      string
		arguments map[string]any
		do        func(r *pythontest.Region) error
		want      []string
	}{
		{"get", nil, func(r *pythontest.Region) error { _, err := r.Get("k"); return err }, []string{"GET p:k"}},
		{"get_multi", nil, func(r *pythontest.Region) error { _, err := r.GetMulti([]string{"k", "l"}); return err }, []string{"MGET p:k p:l"}},
		{"set", nil, func(r *pythontest.Region) error { return r.Set("k", b) }, []string{"SET p:k VALUE"}},
		{"set that expires", map[string]any{"redis_expiration_time": 60}, func(r *pythontest.Region) error { return r.Set("k", b) }, []string{"SETEX p:k 60 VALUE"}},
		{"set_multi", nil, func(r *pythontest.Region) error { return r.SetMulti(map[string]any{"k": b, "l": b}) }, []string{"MSET p:k VALUE p:l VALUE"}},
		{"set_multi that expires", map[string]any{"redis_expiration_time": 60}, func(r *pythontest.Region) error { return r.SetMulti(map[string]any{"k": b, "l": b}) },
			[]string{"MULTI", "SETEX p:k 60 VALUE", "SETEX p:l 60 VALUE", "EXEC"}},
		{"delete", nil, func(r *pythontest.Region) error { return r.Delete("k") }, []string{"DEL p:k"}},
		{"delete_multi", nil, func(r *pythontest.Region) error { return r.DeleteMulti([]string{"k", "l"}) }, []string{"DEL p:k p:l"}},
	} {
		proxy := faultproxy.New(t, server.Addr)
		if err := test.do(region(proxy, test.arguments)); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := commands(proxy); !slices.Equal(got, test.want) {
			t.Errorf("%s sends %q, want %q", test.name, got, test.want)
		}
	}
}

// The steps of get_or_create under the lock, and the lock itself.
func TestRedisLockProtocol(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := pythontest.Start(t)
	const script = "EVALSHA c3f8721cbb97f72bc19e972846bd7aaf91901658 1 _lockk TOKEN"
	for i, test := range []struct {
		name    string
		timeout any
		stale   bool
		want    []string
	}{
		{"cold", 30, false, []string{"GET k", "SET _lockk TOKEN PX 30000 NX", "GET k", "SET k VALUE", script}},
		{"cold, without a timeout", nil, false, []string{"GET k", "SET _lockk TOKEN NX", "GET k", "SET k VALUE", script}},
		{"cold, with a part of a second", 30.5, false, []string{"GET k", "SET _lockk TOKEN PX 30500 NX", "GET k", "SET k VALUE", script}},
		{"stale", 30, true, []string{"GET k", "SET _lockk TOKEN PX 30000 NX", "SET k VALUE", script}},
	} {
		server.Do(t, "FLUSHALL")
		proxy := faultproxy.New(t, server.Addr)
		region := w.Region(pythontest.RegionConfig{Backend: pythontest.Redis, Serializer: "json", Expiration: time.Hour,
			Arguments: map[string]any{"url": "redis://" + proxy.Addr, "distributed_lock": true, "lock_timeout": test.timeout}})
		if test.stale {
			server.Do(t, "SET", "k", `{"ct": 1000.5, "v": 2}|"old"`)
		}
		call := region.StartGetOrCreate("k", pythontest.Creator{Value: i, Hold: true})
		call.AwaitCreating(t)
		token, _ := server.Do(t, "GET", "_lockk").(string)
		if !regexp.MustCompile("^[0-9a-f]{32}$").MatchString(token) {
			t.Errorf("%s: the token is %q, want 32 digits", test.name, token)
		}
		if ttl := server.Do(t, "PTTL", "_lockk").(int64); (ttl == -1) != (test.timeout == nil) || ttl > 30500 {
			t.Errorf("%s: the lock ends in %d ms, with a timeout of %v", test.name, ttl, test.timeout)
		}
		if locked, err := region.KeyIsLocked("k"); err != nil || !locked {
			t.Errorf("%s: key_is_locked = %v, %v while it is held", test.name, locked, err)
		}
		before := len(commands(proxy))
		if test.stale { // somebody else gets the old value meanwhile
			if v, err := region.GetOrCreate("k", pythontest.Creator{Value: "other"}); err != nil || v.JSON != `"old"` {
				t.Errorf("%s: get_or_create by another = %v, %v; want the old value", test.name, v, err)
			}
		}
		after := len(commands(proxy))
		call.Release()
		if v, err := call.Value(); err != nil || v.JSON != fmt.Sprint(i) {
			t.Errorf("%s: get_or_create = %v, %v; want %d", test.name, v, err, i)
		}
		if v := server.Do(t, "EXISTS", "_lockk"); v != int64(0) {
			t.Errorf("%s: the lock is there after the creation", test.name)
		}
		all := commands(proxy)
		all = slices.Concat(all[:before], all[after:])
		// The question of key_is_locked, and what a client does that meets a server which
		// does not know the script yet.
		all = slices.DeleteFunc(all, func(c string) bool { return c == "GET _lockk" || strings.HasPrefix(c, "SCRIPT LOAD") })
		if all = slices.Compact(all); !slices.Equal(all, test.want) {
			t.Errorf("%s: the commands are %q, want %q", test.name, all, test.want)
		}
	}
	if text := server.Do(t, "SCRIPT", "EXISTS", "c3f8721cbb97f72bc19e972846bd7aaf91901658"); fmt.Sprint(text) != "[1]" {
		t.Errorf("the server does not know the script by the digest: %v", text)
	}
}

// Only who holds the lock releases it, and whoever waits gets it then.
func TestRedisLockOwner(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	key := redistest.Prefix(t) + "k"
	region := pythontest.Start(t).Region(pythontest.RegionConfig{Backend: pythontest.Redis, Serializer: "json",
		Arguments: map[string]any{"url": server.URL(), "distributed_lock": true}})
	lock, other := region.Lock(key), region.Lock(key)
	if err := lock.Take(); err != nil {
		t.Fatal(err)
	}
	if taken, err := other.TryTake(); err != nil || taken {
		t.Errorf("a lock that is held is taken by another: %v, %v", taken, err)
	}
	// Somebody else has it now, as after its end.
	server.Do(t, "SET", "_lock"+key, "somebody")
	if err := lock.Release(); !pythontest.Raised(err, "LockNotOwnedError") {
		t.Errorf("release of a lock that is another's: %v, want LockNotOwnedError", err)
	}
	if v := server.Do(t, "GET", "_lock"+key); v != "somebody" {
		t.Errorf("the other's lock is %v now", v)
	}
	waiter := other.StartTake()
	server.Do(t, "DEL", "_lock"+key)
	if err := waiter.Wait(); err != nil {
		t.Errorf("a waiter whose lock became free: %v", err)
	}
	if err := other.Release(); err != nil {
		t.Errorf("release: %v", err)
	}
	raw := region.RawLock("_lock"+key, time.Minute)
	if err := raw.Take(); err != nil {
		t.Fatal(err)
	}
	if locked, err := region.KeyIsLocked(key); err != nil || !locked {
		t.Errorf("key_is_locked = %v, %v under redis-py's own lock of that name", locked, err)
	}
	if err := raw.Release(); err != nil {
		t.Errorf("release of redis-py's lock: %v", err)
	}
}

// Two processes on a cold key: one creates, the other waits.
func TestRedisTwoWorkers(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	key := redistest.Prefix(t) + "k"
	var regions []*pythontest.Region
	for _, w := range pythontest.StartSeveral(t, 2) {
		regions = append(regions, w.Region(pythontest.RegionConfig{Backend: pythontest.Redis, Serializer: "json",
			Arguments: map[string]any{"url": server.URL(), "distributed_lock": true, "lock_timeout": 60}}))
	}
	first := regions[0].StartGetOrCreate(key, pythontest.Creator{Value: 1, Hold: true})
	first.AwaitCreating(t)
	second := regions[1].StartGetOrCreate(key, pythontest.Creator{Value: 2})
	first.Release()
	for _, call := range []*pythontest.Call{first, second} {
		if v, err := call.Value(); err != nil || v.JSON != "1" {
			t.Errorf("get_or_create = %v, %v; want 1", v, err)
		}
	}
	if second.Created() {
		t.Error("both have created")
	}
}

func TestRedisLockPrefix(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	key := redistest.Prefix(t) + "k"
	w := pythontest.Start(t)
	if !w.AtLeast("1.5") {
		t.Skipf("lock_prefix came with dogpile.cache 1.5, this is %s", w.Versions["dogpile.cache"])
	}
	region := w.Region(pythontest.RegionConfig{Backend: pythontest.Redis, Serializer: "json",
		Arguments: map[string]any{"url": server.URL(), "distributed_lock": true, "lock_prefix": "lk:"}})
	lock := region.Lock(key)
	if err := lock.Take(); err != nil {
		t.Fatal(err)
	}
	if v := server.Do(t, "EXISTS", "lk:"+key); v != int64(1) {
		t.Error("the lock is not under the prefix and the key")
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

func TestRedisMetadata(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	key := redistest.Prefix(t) + "k"
	w := pythontest.Start(t)
	if !w.AtLeast("1.3") {
		t.Skipf("get_value_metadata came with dogpile.cache 1.3, this is %s", w.Versions["dogpile.cache"])
	}
	region := w.Region(pythontest.RegionConfig{Backend: pythontest.Redis, Serializer: "json", Arguments: map[string]any{"url": server.URL()}})
	if m, err := region.GetValueMetadata(key); err != nil || m != nil {
		t.Errorf("get_value_metadata of nothing = %v, %v; want None", m, err)
	}
	server.Do(t, "SET", key, `{"ct": 1000.5, "v": 2}|7`)
	m, err := region.GetValueMetadata(key)
	if err != nil || m.Value.JSON != "7" || m.CachedTime != 1000.5 || m.Metadata["v"] != 2.0 || m.Age < 1e9 {
		t.Errorf("get_value_metadata = %+v, %v", m, err)
	}
}

// commands are what went through the proxy: what differs each time has a word for it.
func commands(proxy *faultproxy.Proxy) []string {
	var text strings.Builder
	for _, r := range proxy.Requests() {
		text.Write(r)
	}
	var all []string
	lines := strings.Split(text.String(), "\r\n")
	for i := 0; i < len(lines); i++ {
		var n int
		if _, err := fmt.Sscanf(lines[i], "*%d", &n); err != nil || i+2*n >= len(lines) {
			continue
		}
		words := make([]string, n)
		for j := range words {
			word := lines[i+2*j+2]
			switch {
			case regexp.MustCompile(metadata).MatchString(word):
				word = "VALUE"
			case regexp.MustCompile("^[0-9a-f]{32}$").MatchString(word):
				word = "TOKEN"
			}
			words[j] = word
		}
		i += 2 * n
		if words[0] != "CLIENT" && words[0] != "HELLO" { // a new client tells its name
			all = append(all, strings.Join(words, " "))
		}
	}
	return all
}
