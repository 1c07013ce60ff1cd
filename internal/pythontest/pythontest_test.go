package pythontest_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/internal/pythontest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestMain(m *testing.M) {
	if os.Getenv("PYTHONTEST_DIE") != "" {
		dieWithWorker()
	}
	goleak.VerifyTestMain(memcachedtest.WithShared(redistest.WithShared(m)))
}

func TestVersions(t *testing.T) {
	t.Parallel()
	w := pythontest.Start(t)
	for _, name := range []string{"python", "dogpile.cache", "redis", "pymemcache", "msgpack"} {
		if w.Versions[name] == "" {
			t.Errorf("no version of %s in %v", name, w.Versions)
		}
	}
	if !w.AtLeast("1.1") || !w.AtLeast("1") || w.AtLeast("99.0") || w.AtLeast(w.Versions["dogpile.cache"]+".1") {
		t.Errorf("AtLeast is wrong about %s", w.Versions["dogpile.cache"])
	}
}

func TestValuesTravel(t *testing.T) {
	t.Parallel()
	region := memory(t)
	for _, test := range []struct {
		value                  any
		repr, pythonType, json string
	}{
		{nil, "None", "NoneType", "null"},
		{true, "True", "bool", "true"},
		{"drôle|", "'drôle|'", "str", `"dr\u00f4le|"`},
		{map[string]any{"a": []any{1, 2.5}}, "{'a': [1, 2.5]}", "dict", `{"a": [1, 2.5]}`},
		{pythontest.Py("(1, b'x')"), "(1, b'x')", "tuple", ""},
		{pythontest.Py("2**70"), "1180591620717411303424", "int", "1180591620717411303424"},
		{pythontest.Py("float('nan')"), "nan", "float", ""},
		{pythontest.Bytes([]byte("\x00'\xff")), `b"\x00'\xff"`, "bytes", ""},
	} {
		if err := region.Set("k", test.value); err != nil {
			t.Errorf("set %v: %v", test.value, err)
			continue
		}
		got, err := region.Get("k")
		if err != nil || got.Repr != test.repr || got.Type != test.pythonType || got.JSON != test.json || got.Missing {
			t.Errorf("get after set of %v = %+v, %v; want %s of type %s, as JSON %s", test.value, got, err, test.repr, test.pythonType, test.json)
		}
	}
	if got, err := region.Get("nothing"); err != nil || !got.Missing {
		t.Errorf("get of nothing = %+v, %v; want that it is missing", got, err)
	}
	if got, err := region.Get("k"); err != nil || string(got.Bytes) != "\x00'\xff" {
		t.Errorf("bytes come back as %q, %v", got.Bytes, err)
	}
}

func TestCreators(t *testing.T) {
	t.Parallel()
	region := memory(t)
	w := region.Worker()
	call := region.StartGetOrCreate("k", pythontest.Creator{Value: 1, Hold: true})
	call.AwaitCreating(t)
	// Others are served meanwhile, and the one who waits for the mutex creates nothing.
	waiter := region.StartGetOrCreate("k", pythontest.Creator{Value: 2})
	if _, err := region.Get("other"); err != nil {
		t.Fatalf("get while a creator is held: %v", err)
	}
	select {
	case <-call.Done():
		t.Fatal("a call has ended whose creator is held")
	default:
	}
	call.Release()
	for _, c := range []*pythontest.Call{call, waiter} {
		if v, err := c.Value(); err != nil || v.JSON != "1" {
			t.Errorf("get_or_create = %v, %v; want 1", v, err)
		}
	}
	if !call.Created() || waiter.Created() || w.Created("k") != 1 {
		t.Errorf("creations: %v; want one, of the first call", w.Creations())
	}

	// A creator that was told what to do when it was let go.
	call = region.StartGetOrCreate("l", pythontest.Creator{Hold: true})
	call.AwaitCreating(t)
	call.ReleaseWith(pythontest.Creator{Fail: "no row"})
	if _, err := call.Value(); !pythontest.Raised(err, "Failed") || !strings.Contains(err.Error(), "no row") {
		t.Errorf("a creator that fails: %v, want Failed with its message", err)
	}

	values, err := region.GetOrCreateMulti([]string{"b", "k", "a"}, pythontest.Creator{Value: map[string]int{"a": 10, "b": 20}})
	if err != nil || len(values) != 3 || values[0].JSON != "20" || values[1].JSON != "1" || values[2].JSON != "10" {
		t.Errorf("get_or_create_multi = %v, %v; want 20, 1, 10", values, err)
	}
	if all := w.Creations(); len(all[len(all)-1].Keys) != 2 || all[len(all)-1].State != "created" {
		t.Errorf("the last creation is %v, want one of a and b that has ended", all[len(all)-1])
	}
	if _, err := region.GetOrCreate("m", pythontest.Creator{Value: 1}, pythontest.NeverCache()); err != nil {
		t.Error(err)
	}
	if v, err := region.Get("m"); err != nil || !v.Missing {
		t.Errorf("what should_cache_fn refused is there: %v, %v", v, err)
	}
}

func TestExceptions(t *testing.T) {
	t.Parallel()
	region := memory(t)
	_, err := region.Lock("k").TryTake()
	var e *pythontest.Exception
	if !errors.As(err, &e) || e.Class != "ValueError" || e.Message != "the region has no distributed_lock" {
		t.Errorf("a lock of a region without locks: %v, want the ValueError of the worker", err)
	}
	if err := region.Invalidate(false); err != nil {
		t.Error(err)
	}
	if _, err = region.GetOrCreate("k", pythontest.Creator{}); !pythontest.Raised(err, "DogpileCacheException") ||
		!pythontest.Raised(err, "dogpile.cache.exception.DogpileCacheException") {
		t.Errorf("soft invalidation without an expiration: %v, want DogpileCacheException", err)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	region := memory(t)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			key := string(rune('a' + i%5))
			if v, err := region.GetOrCreate(key, pythontest.Creator{Value: key, Duration: time.Millisecond}); err != nil || v.JSON != `"`+key+`"` {
				t.Errorf("get_or_create(%s) = %v, %v", key, v, err)
			}
		})
	}
	all.Wait()
	if n := len(region.Worker().Creations()); n != 10 { // two lines of each
		t.Errorf("%d lines of creators, want 10, of 5 creations", n)
	}
}

func TestInvalidate(t *testing.T) {
	t.Parallel()
	region := memory(t, func(cfg *pythontest.RegionConfig) { cfg.Expiration = time.Hour })
	for _, hard := range []bool{true, false} {
		if err := region.Set("k", 1); err != nil {
			t.Fatal(err)
		}
		if err := region.Invalidate(hard); err != nil {
			t.Fatal(err)
		}
		if v, err := region.Get("k"); err != nil || !v.Missing {
			t.Errorf("get after invalidate(hard=%v) = %v, %v; want NO_VALUE", hard, v, err)
		}
		if v, err := region.Get("k", pythontest.IgnoreExpiration()); err != nil || v.Missing {
			t.Errorf("with ignore_expiration it is %v, %v; want the value", v, err)
		}
	}
}

func TestManglers(t *testing.T) {
	t.Parallel()
	w := pythontest.Start(t)
	for _, test := range []struct{ mangler, key, want string }{
		{"", "a b", "a b"},
		{"sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"sha1", "é", "bf15be717ac1b080b4f1c456692825891ff5073d"},
		{"length:4", "abc", "abc"},
		{"length:3", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"prefix:app:", "abc", "app:abc"},
	} {
		region := w.Region(pythontest.RegionConfig{Backend: "dogpile.cache.memory", KeyMangler: test.mangler})
		if got, err := region.Mangle(test.key); err != nil || got != test.want {
			t.Errorf("%q of %q = %q, %v; want %q", test.mangler, test.key, got, err, test.want)
		}
	}
}

func TestKeysOfFunctions(t *testing.T) {
	t.Parallel()
	region := memory(t, func(cfg *pythontest.RegionConfig) { cfg.KeyMangler = "prefix:p-" })
	for _, test := range []struct {
		cfg  pythontest.FunctionConfig
		args pythontest.Args
		want []string
	}{
		{pythontest.FunctionConfig{}, pythontest.With(1, "a b", nil, pythontest.Py("2.0"), true), []string{"app.users:load|1 a b None 2.0 True"}},
		{pythontest.FunctionConfig{Namespace: "ns"}, pythontest.With(1), []string{"app.users:load|ns|1"}},
		{pythontest.FunctionConfig{Params: "self, a"}, pythontest.With("whoever", 7), []string{"app.users:load|7"}},
		{pythontest.FunctionConfig{ToStr: "repr"}, pythontest.With("a"), []string{"app.users:load|'a'"}},
		{pythontest.FunctionConfig{Params: "b, a=3", KeyGenerator: "kwarg"}, pythontest.Args{Keywords: map[string]any{"b": 1}}, []string{"app.users:load|3 1"}},
		{pythontest.FunctionConfig{Multi: true}, pythontest.With(1, "x"), []string{"app.users:load|1", "app.users:load|x"}},
	} {
		cfg := test.cfg
		cfg.Module, cfg.Name = "app.users", "load"
		got, err := region.Function(cfg).Keys(test.args)
		if err != nil || strings.Join(got.Keys, "\n") != strings.Join(test.want, "\n") {
			t.Errorf("keys of %+v with %+v = %q, %v; want %q", test.cfg, test.args, got.Keys, err, test.want)
			continue
		}
		if got.Mangled[0] != "p-"+test.want[0] {
			t.Errorf("the mangled key is %q, want p- before it", got.Mangled[0])
		}
	}
	plain := region.Function(pythontest.FunctionConfig{Module: "m", Name: "f"})
	if _, err := plain.Keys(pythontest.Args{Keywords: map[string]any{"a": 1}}); !pythontest.Raised(err, "ValueError") {
		t.Errorf("keyword arguments for the default generator: %v, want ValueError", err)
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	region := memory(t)
	f := region.Function(pythontest.FunctionConfig{Module: "m", Name: "f", Params: "a, b"})
	want := func(what, want string) func(pythontest.Result, error) {
		return func(got pythontest.Result, err error) {
			t.Helper()
			if err != nil || got.Value.Repr != want {
				t.Errorf("%s = %v, %v; want %s", what, got.Value, err, want)
			}
		}
	}
	want("the first call", "1")(f.Call(pythontest.With(1, 2), pythontest.Creator{Value: 1}))
	want("the second call", "1")(f.Call(pythontest.Args{List: []any{1}, Keywords: map[string]any{"b": 2}}, pythontest.Creator{Value: 2}))
	if v, err := region.Get("m:f|1 2"); err != nil || v.Repr != "1" {
		t.Errorf("under the key there is %v, %v; want 1", v, err)
	}
	want("original", "3")(f.Original(pythontest.Creator{Value: 3}, 1, 2))
	want("refresh", "4")(f.Refresh(pythontest.Creator{Value: 4}, 1, 2))
	want("get", "4")(f.Get(1, 2))
	if err := f.Set(5, 1, 2); err != nil {
		t.Error(err)
	}
	want("get after set", "5")(f.Get(1, 2))
	if err := f.Invalidate(1, 2); err != nil {
		t.Error(err)
	}
	want("get after invalidate", "NO_VALUE")(f.Get(1, 2))

	many := region.Function(pythontest.FunctionConfig{Module: "m", Name: "many", Multi: true})
	got, err := many.Call(pythontest.With(1, 2), pythontest.Creator{Value: map[string]any{"1": "one", "2": "two"}})
	if err != nil || len(got.List) != 2 || got.List[1].Repr != "'two'" {
		t.Errorf("many(1, 2) = %v, %v; want one and two", got.List, err)
	}
	if err := many.SetMulti([]any{2, 3}, []any{"zwei", "drei"}); err != nil {
		t.Error(err)
	}
	if got, err = many.Get(1, 2, 3); err != nil || len(got.List) != 3 || got.List[1].Repr != "'zwei'" || got.List[2].Repr != "'drei'" {
		t.Errorf("many.get(1, 2, 3) = %v, %v", got.List, err)
	}
	dict := region.Function(pythontest.FunctionConfig{Module: "m", Name: "dict_", Multi: true, AsDict: true})
	got, err = dict.Call(pythontest.With(1, 2), pythontest.Creator{Value: map[string]any{"1": "one"}})
	if err != nil || len(got.ByID) != 1 || got.ByID["1"].Repr != "'one'" {
		t.Errorf("a function that leaves out 2 = %v, %v; want 1 alone", got.ByID, err)
	}
}

func TestPublicNames(t *testing.T) {
	t.Parallel()
	names, _ := pythontest.Start(t).Public(t)
	kinds := make(map[string]pythontest.Name)
	for _, n := range names {
		kinds[n.Name] = n
	}
	for name, kind := range map[string]string{
		"dogpile.lock.Lock": "class",
		"dogpile.cache.region.CacheRegion.get_or_create":                 "method",
		"dogpile.cache.region.CacheRegion.expiration_time":               "attribute",
		"dogpile.cache.api.NO_VALUE":                                     "constant",
		"dogpile.cache.util.sha1_mangle_key":                             "function",
		"decorated.refresh":                                              "method",
		"dogpile.cache.redis":                                            "backend",
		"dogpile.cache.backends.redis.RedisBackend.arguments.lock_sleep": "argument",
		"dogpile.cache.backends.redis.RedisBackend.delete":               "", // CacheBackend has it
	} {
		if kinds[name].Kind != kind {
			t.Errorf("%s is %q, want a %s", name, kinds[name].Kind, kind)
		}
	}
	if p := strings.Join(kinds["dogpile.cache.region.CacheRegion.get"].Params, " "); p != "key expiration_time ignore_expiration" {
		t.Errorf("the parameters of CacheRegion.get are %q", p)
	}
}

// memory returns a region in the memory of a new worker.
func memory(t *testing.T, change ...func(*pythontest.RegionConfig)) *pythontest.Region {
	t.Helper()
	cfg := pythontest.RegionConfig{Backend: "dogpile.cache.memory"}
	for _, c := range change {
		c(&cfg)
	}
	return pythontest.Start(t).Region(cfg)
}
