package pythontest

import (
	"maps"
	"time"
)

// The backends for which a worker has the clients.
const (
	Redis     = "dogpile.cache.redis"
	Memcached = "dogpile.cache.pymemcache"
)

// RegionConfig is what a region is made of.
type RegionConfig struct {
	// Backend is the name of a backend, as [Redis].
	Backend string
	// Arguments are the arguments of the backend: url (for memcached a host and port,
	// or a list of them), distributed_lock, lock_timeout, lock_prefix,
	// redis_expiration_time, memcached_expire_time and so on. With distributed_lock,
	// thread_local_lock is false, as dogpile.cache advises, unless it is given.
	Arguments map[string]any
	// Expiration is the region's expiration_time. 0 means none.
	Expiration time.Duration
	// Serializer is "json", "pickle", "pickle:2" (a protocol), "msgpack" or "raw" (bytes
	// as they are). "" is the backend's own: pickle on Redis, the client's on memcached.
	Serializer string
	// KeyMangler is "sha1", "length:100" (SHA-1 of keys of 100 characters or more) or
	// "prefix:app:". "" is none.
	KeyMangler string
}

// request is what is sent to a worker.
type request map[string]any

func (cfg RegionConfig) request(name string) request {
	arguments := maps.Clone(cfg.Arguments)
	if arguments["distributed_lock"] == true && cfg.Backend == Redis {
		if _, given := arguments["thread_local_lock"]; !given {
			arguments["thread_local_lock"] = false
		}
	}
	q := request{"op": "region", "region": name, "backend": cfg.Backend, "arguments": arguments,
		"serializer": cfg.Serializer, "key_mangler": cfg.KeyMangler}
	if cfg.Expiration != 0 {
		q["expiration_time"] = cfg.Expiration.Seconds()
	}
	return q
}

// Region is a CacheRegion of a worker. It is safe for concurrent use.
type Region struct {
	worker *Worker
	name   string
}

// Worker returns the worker that has the region.
func (r *Region) Worker() *Worker { return r.worker }

// Option is an argument that not all calls have.
type Option struct {
	name  string
	value any
}

// Expiration is the argument expiration_time.
func Expiration(d time.Duration) Option { return Option{"expiration_time", d.Seconds()} }

// IgnoreExpiration is ignore_expiration=True.
func IgnoreExpiration() Option { return Option{"ignore_expiration", true} }

// NeverCache is a should_cache_fn that returns False.
func NeverCache() Option { return Option{"never_cache", true} }

func (r *Region) start(op string, q request, options ...Option) *Call {
	if q == nil {
		q = request{}
	}
	q["op"], q["region"] = op, r.name
	for _, o := range options {
		q[o.name] = o.value
	}
	return r.worker.call(q)
}

// Get is region.get.
func (r *Region) Get(key string, options ...Option) (Value, error) {
	return r.start("get", request{"key": key}, options...).Value()
}

// GetMulti is region.get_multi.
func (r *Region) GetMulti(keys []string, options ...Option) ([]Value, error) {
	return r.start("get_multi", request{"keys": keys}, options...).Values()
}

// Set is region.set. value is anything that JSON can say, or [Py].
func (r *Region) Set(key string, value any) error {
	return r.start("set", request{"key": key, "value": value}).Wait()
}

// SetMulti is region.set_multi.
func (r *Region) SetMulti(values map[string]any) error {
	return r.start("set_multi", request{"values": values}).Wait()
}

// Delete is region.delete.
func (r *Region) Delete(key string) error { return r.start("delete", request{"key": key}).Wait() }

// DeleteMulti is region.delete_multi.
func (r *Region) DeleteMulti(keys []string) error {
	return r.start("delete_multi", request{"keys": keys}).Wait()
}

// GetOrCreate is region.get_or_create.
func (r *Region) GetOrCreate(key string, creator Creator, options ...Option) (Value, error) {
	return r.StartGetOrCreate(key, creator, options...).Value()
}

// StartGetOrCreate starts a [Region.GetOrCreate]. [Call.Value] has what it returns.
func (r *Region) StartGetOrCreate(key string, creator Creator, options ...Option) *Call {
	return r.start("get_or_create", request{"key": key, "creator": creator.request()}, options...)
}

// GetOrCreateMulti is region.get_or_create_multi. The creator's Value is a map.
func (r *Region) GetOrCreateMulti(keys []string, creator Creator, options ...Option) ([]Value, error) {
	return r.StartGetOrCreateMulti(keys, creator, options...).Values()
}

// StartGetOrCreateMulti starts a [Region.GetOrCreateMulti]. [Call.Values] has what it
// returns.
func (r *Region) StartGetOrCreateMulti(keys []string, creator Creator, options ...Option) *Call {
	return r.start("get_or_create_multi", request{"keys": keys, "creator": creator.request()}, options...)
}

// KeyIsLocked is region.key_is_locked.
func (r *Region) KeyIsLocked(key string) (bool, error) {
	var locked bool
	err := r.start("key_is_locked", request{"key": key}).into(&locked)
	return locked, err
}

// Metadata is a CachedValue.
type Metadata struct {
	Value Value `json:"value"`
	// Metadata is what is stored in front of the value.
	Metadata map[string]any `json:"metadata"`
	// CachedTime and Age are its properties, in seconds.
	CachedTime float64 `json:"cached_time"`
	Age        float64 `json:"age"`
}

// GetValueMetadata is region.get_value_metadata, which came with dogpile.cache 1.3. It is
// nil if there is none.
func (r *Region) GetValueMetadata(key string, options ...Option) (*Metadata, error) {
	var m *Metadata
	err := r.start("get_value_metadata", request{"key": key}, options...).into(&m)
	return m, err
}

// Invalidate is region.invalidate, of this worker.
func (r *Region) Invalidate(hard bool) error {
	return r.start("invalidate", request{"hard": hard}).Wait()
}

// Mangle returns what the region makes of a key.
func (r *Region) Mangle(key string) (string, error) {
	var mangled string
	err := r.start("mangle", request{"key": key}).into(&mangled)
	return mangled, err
}
