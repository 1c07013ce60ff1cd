package bench

import "testing"

// hit asks a contestant for the i-th key of its source.
type hit func(i uint32) (user, error)

// contestant is one way to cache. Its open makes a cache with room for the keys of
// s many times over, which loads from s; what has to be closed it closes at the
// end of tb.
type contestant struct {
	who  string
	open func(tb testing.TB, s *source) hit
}

// room is how many entries a cache may hold for a source: so many that nothing is
// evicted, not even from the fullest shard.
func room(s *source) int { return 10 * len(s.keys) }

// contestants are listed in the order of the table.
var contestants = []contestant{
	{"region.GetOrCreate", openGetOrCreate},
	{"region.Get", openGet},
	{"region.Cached_int64", openCachedInt64},
	{"region.Cached_string", openCachedString},
	{"region.Cached_int64_tags", openCachedTags},
	{"decorate.CacheOnArguments", openDecorated},
	{"region.GetOrCreate_closure", openGetOrCreateClosure},
	{"region.GetOrCreate_copy", openGetOrCreateCopy},
	{"region.GetOrCreate_proxy", openGetOrCreateProxy},
	{"otter_TTL", openOtterTTL},
	{"otter", openOtter},
	{"otter_TTL_stats", openOtterStats},
	{"theine", openTheine},
	{"sturdyc", openSturdyc},
	{"ttlcache", openTTLCache},
	{"go-redis-cache", openGoRedisCache},
	{"sync.Map", openSyncMap},
	{"slice_index", openSlice},
}

// TestContestants shows that the benchmarks measure hits: after every key was
// asked for once, all of them are answered right and without their loader.
func TestContestants(t *testing.T) {
	for _, c := range contestants {
		t.Run(c.who, func(t *testing.T) {
			s := newSource(1000)
			hit := c.open(t, s)
			s.fill(t, hit)
			for i := range s.keys {
				u, err := hit(uint32(i))
				if want := (user{int64(i), "somebody", i % 100}); err != nil || u != want {
					t.Fatalf("%s: got %+v, %v; want %+v", s.keys[i], u, err, want)
				}
			}
			s.allHits(t)
		})
	}
}
