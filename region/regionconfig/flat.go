package regionconfig

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dogpile-go/dogpile/region"
)

// Flat reads a setup from a map with a key for each setting, as there is in an INI file or
// a key-value store. With the prefix "cache." the keys are
//
//	cache.backends.shared           the URL of a backend
//	cache.defaults.expiration       a setting of defaults
//	cache.users.backend             one of the region users
//
// and those of dogpile.cache's configure_from_config:
//
//	cache.users.backend             as dogpile.cache.redis
//	cache.users.expiration_time     in seconds; -1 and None are forever
//	cache.users.arguments.host      an argument of the backend
//
// Keys without the prefix are left alone. The error is a [*region.SetupError].
func Flat(prefix string, values map[string]string) (region.Setup, error) {
	r := newReader()
	r.flat(prefix, values)
	if err := r.err(); err != nil {
		return region.Setup{}, err
	}
	return r.setup, nil
}

func (r *reader) flat(prefix string, values map[string]string) {
	foreign := map[string]*pythonic{} // what is written as in dogpile.cache, by region
	of := func(name string) *pythonic {
		if foreign[name] == nil {
			foreign[name] = &pythonic{arguments: map[string]string{}}
		}
		return foreign[name]
	}
	for _, full := range slices.Sorted(maps.Keys(values)) {
		key, ours := strings.CutPrefix(full, prefix)
		if !ours {
			continue
		}
		key, value := strings.TrimPrefix(key, "."), strings.TrimSpace(values[full])
		key = strings.TrimPrefix(key, "regions.")
		if name, isBackend := strings.CutPrefix(key, "backends."); isBackend {
			setting := "backends." + name
			r.origins[setting] = full
			r.setup.Backends[name] = r.expanded(setting, value)
			continue
		}
		name, argument, isArgument := strings.Cut(key, ".arguments.")
		if isArgument {
			r.origins["regions."+name+".arguments."+argument] = full
			of(name).arguments[argument] = value
			continue
		}
		dot := strings.LastIndexByte(key, '.')
		if dot <= 0 {
			r.wrong(key, full, fmt.Errorf("a key has the name of a region, a dot, and that of a setting"))
			continue
		}
		r.flatSetting(full, key[:dot], key[dot+1:], value, of)
	}
	for _, name := range slices.Sorted(maps.Keys(foreign)) {
		r.pythonic(name, foreign[name])
	}
}

// flatSetting reads one setting of a region, or of defaults.
func (r *reader) flatSetting(full, name, key, value string, of func(string) *pythonic) {
	path := "regions." + name
	into := &r.setup.Defaults
	own := r.setup.Regions[name]
	if name == "defaults" {
		path = name
	} else {
		into = &own
		defer func() { r.setup.Regions[name] = own }()
		if r.origins[path] == "" {
			r.origins[path] = full
		}
	}
	setting := path + "." + key
	r.origins[setting] = full
	s, ok := settingOf(key)
	switch {
	case key == "expiration_time":
		d, err := seconds(value)
		if err != nil {
			r.wrong(setting, "", err)
			return
		}
		into.Expiration = &d
		r.origins[path+".expiration"] = full
	case key == "backend" && strings.HasPrefix(value, pythonPrefix):
		of(name).backend = value
	case key == "wrap":
		r.wrong(setting, "", fmt.Errorf("proxies are Go values; set Config.Wrap in the function that ConfigureAll is given"))
	case key == "replace_existing_backend":
		r.wrong(setting, "", fmt.Errorf("it has no meaning here; use Region.Reconfigure to change a region that is in use"))
	case !ok:
		r.wrong(setting, "", unknown("setting", key, append(settingNames(), "expiration_time", "arguments")))
	default:
		r.setText(setting, s, into, value)
	}
}
