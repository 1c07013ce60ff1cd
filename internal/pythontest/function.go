package pythontest

import "time"

// FunctionConfig is a decorated function.
type FunctionConfig struct {
	// Module and Name are what the function has as __module__ and __name__.
	Module, Name string
	// Params is the text of its parameters, as "self, a, b=2". "" is *args.
	Params string
	// Namespace is the argument namespace. "" is None.
	Namespace string
	// KeyGenerator is "" for the default one or "kwarg".
	KeyGenerator string
	// ToStr is "" for str, or "repr".
	ToStr string
	// Expiration is the argument expiration_time. 0 means that of the region.
	Expiration time.Duration
	// Multi makes it a function of many ids, for cache_multi_on_arguments, and AsDict
	// one that returns a dict.
	Multi, AsDict bool
}

// Function is a function decorated with cache_on_arguments or cache_multi_on_arguments.
// It is safe for concurrent use.
type Function struct {
	region *Region
	name   string
}

// Function decorates a function.
func (r *Region) Function(cfg FunctionConfig) *Function {
	r.worker.t.Helper()
	f := &Function{region: r, name: r.worker.newName("function")}
	q := request{"function": f.name, "module": cfg.Module, "name": cfg.Name, "key_generator": cfg.KeyGenerator,
		"to_str": cfg.ToStr, "multi": cfg.Multi, "asdict": cfg.AsDict}
	if cfg.Params != "" {
		q["params"] = cfg.Params
	}
	if cfg.Namespace != "" {
		q["namespace"] = cfg.Namespace
	}
	if cfg.Expiration != 0 {
		q["expiration_time"] = cfg.Expiration.Seconds()
	}
	if err := r.start("function", q).Wait(); err != nil {
		r.worker.t.Fatalf("a decorated function %s(%s): %v", cfg.Name, cfg.Params, err)
	}
	return f
}

// Args are the arguments of a call.
type Args struct {
	List []any
	// Keywords are the keyword arguments.
	Keywords map[string]any
}

// With returns positional arguments.
func With(args ...any) Args { return Args{List: args} }

// Result is what a call of a function returned.
type Result struct {
	// Value is that of a function of one value.
	Value Value `json:"value"`
	// List is that of a function of many ids, ByID that of one with AsDict, by the text
	// of the id.
	List []Value          `json:"list"`
	ByID map[string]Value `json:"by_id"`
}

// Call calls the function. creator is what it does if it is run.
func (f *Function) Call(args Args, creator Creator) (Result, error) {
	return f.StartCall(args, creator).Result()
}

// StartCall starts a [Function.Call]. [Call.Result] has what it returns.
func (f *Function) StartCall(args Args, creator Creator) *Call {
	return f.start("", args, request{"creator": creator.request()})
}

// Result waits for the end of a call of a function.
func (c *Call) Result() (Result, error) {
	var r Result
	err := c.into(&r)
	return r, err
}

// Get is the function's get.
func (f *Function) Get(args ...any) (Result, error) {
	return f.start("get", With(args...), nil).Result()
}

// Set is the function's set of one value.
func (f *Function) Set(value any, args ...any) error {
	return f.start("set", With(args...), request{"value": value}).Wait()
}

// SetMulti is the set of a function of many ids. The values are in the order of the ids.
func (f *Function) SetMulti(ids, values []any) error {
	return f.start("set", With(ids...), request{"values": values}).Wait()
}

// Invalidate is the function's invalidate.
func (f *Function) Invalidate(args ...any) error {
	return f.start("invalidate", With(args...), nil).Wait()
}

// Refresh is the function's refresh.
func (f *Function) Refresh(creator Creator, args ...any) (Result, error) {
	return f.start("refresh", With(args...), request{"creator": creator.request()}).Result()
}

// Original calls the function that was decorated.
func (f *Function) Original(creator Creator, args ...any) (Result, error) {
	return f.start("original", With(args...), request{"creator": creator.request()}).Result()
}

// Keys are the keys of a call.
type Keys struct {
	// Keys are those of the key generator: one, or one for each id.
	Keys []string `json:"keys"`
	// Mangled are those that the backend has.
	Mangled []string `json:"mangled"`
}

// Keys returns the keys that a call with these arguments has.
func (f *Function) Keys(args Args) (Keys, error) {
	var k Keys
	err := f.start("key", args, nil).into(&k)
	return k, err
}

func (f *Function) start(way string, args Args, more request) *Call {
	q := request{"function": f.name, "way": way, "args": args.List, "kwargs": args.Keywords}
	for name, v := range more {
		q[name] = v
	}
	return f.region.start("call", q)
}
