package regionconfig

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/dogpile-go/dogpile/codec/encrypt"
	"github.com/dogpile-go/dogpile/internal/spelling"
	"github.com/dogpile-go/dogpile/region"
)

// mark is what the names of our environment variables begin with.
const mark = "DOGPILE_"

// taken are those that mean something else.
var taken = []string{region.EnvDisable, encrypt.EnvKeys, encrypt.EnvKeysFile}

// linked are those that an orchestrator sets for a service that is called dogpile.
var linked = regexp.MustCompile(`^DOGPILE_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?)$`)

// Override lets environment variables, which stand in environ as in os.Environ, have the
// last word over setup. It changes setup only if it returns nil. The error is a
// [*region.SetupError].
func Override(setup *region.Setup, environ []string) error {
	r := newReader()
	r.adopt(*setup)
	r.environment(environ)
	if err := r.err(); err != nil {
		return err
	}
	*setup = r.setup
	return nil
}

// adopt makes a copy of a setup the reader's own.
func (r *reader) adopt(setup region.Setup) {
	if setup.Origin != nil {
		mine, before := r.origins, setup.Origin
		r.setup.Origin = func(setting string) string {
			if at := mine[setting]; at != "" {
				return at
			}
			return before(setting)
		}
	}
	maps.Copy(r.setup.Backends, setup.Backends)
	maps.Copy(r.setup.Regions, setup.Regions)
	r.setup.Defaults = setup.Defaults
}

func (r *reader) environment(environ []string) {
	environ = slices.Sorted(slices.Values(environ))
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, mark) || value == "" || slices.Contains(taken, name) || linked.MatchString(name) {
			continue
		}
		r.variable(name, value)
	}
	r.checkAdded()
}

// checkAdded refuses backends that only the environment names and no region asks for: their
// names were mistyped.
func (r *reader) checkAdded() {
	asked := map[string]bool{r.setup.Defaults.Backend: true}
	for _, s := range r.setup.Regions {
		asked[s.Backend] = true
	}
	for _, name := range r.added {
		if !asked[name] {
			others := slices.DeleteFunc(slices.Sorted(maps.Keys(r.setup.Backends)), func(other string) bool { return slices.Contains(r.added, other) })
			hint := "there are " + strings.Join(others, ", ")
			if meant := spelling.Nearest(name, others); meant != "" {
				hint = fmt.Sprintf("did you mean %q?", meant)
			}
			r.wrong("backends."+name, "", fmt.Errorf("no region asks for this backend: %s", hint))
		}
	}
}

// target is what a variable may set.
type target struct {
	path string // "defaults", or "regions." and a name
	setting
}

// variable sets what one environment variable says.
func (r *reader) variable(name, value string) {
	known := map[string][]target{}
	for _, s := range settings {
		known[envName("defaults_"+s.name)] = []target{{"defaults", s}}
	}
	names := slices.Sorted(maps.Keys(r.setup.Regions))
	for _, declared := range region.Declared() {
		if _, here := r.setup.Regions[declared]; !here {
			names = append(names, declared)
		}
	}
	for _, of := range names {
		for _, s := range settings {
			v := envName(of + "_" + s.name)
			known[v] = append(known[v], target{"regions." + of, s})
		}
	}
	backend := ""
	for _, b := range slices.Sorted(maps.Keys(r.setup.Backends)) {
		if envName("backends_"+b) == name {
			backend = b
		}
	}
	targets := known[name]
	switch own, isBackend := strings.CutPrefix(name, mark+"BACKENDS_"); {
	case len(targets) > 1:
		r.wrong(targets[0].path, name, fmt.Errorf("the variable may mean %s or %s; give one of the regions another name", targets[0].path, targets[1].path))
	case len(targets) == 1:
		r.override(targets[0], name, value)
	case isBackend && own != "":
		if backend == "" {
			backend = strings.ToLower(own)
			r.added = append(r.added, backend)
		}
		r.overridden("backends." + backend)
		r.origins["backends."+backend] = name
		r.setup.Backends[backend] = value
	case r.used[name]:
	case isBackend || isMeant(name, known):
		r.wrong("", name, unknown("environment variable", name, slices.Sorted(maps.Keys(known))))
	}
}

// isMeant reports whether a variable that means nothing has the name of a region in it, or
// that of a setting: others may be somebody else's.
func isMeant(name string, known map[string][]target) bool {
	for _, targets := range known {
		path := strings.TrimPrefix(targets[0].path, "regions.")
		if strings.HasPrefix(name, envName(path)+"_") || strings.HasSuffix(name, "_"+strings.ToUpper(targets[0].name)) {
			return true
		}
	}
	return false
}

func (r *reader) override(t target, variable, value string) {
	path := t.path + "." + t.name
	r.overridden(path)
	r.origins[path] = variable
	into := &r.setup.Defaults
	name, isRegion := strings.CutPrefix(t.path, "regions.")
	var own region.RegionSetup
	if isRegion {
		own = r.setup.Regions[name]
		into = &own
	}
	if err := t.set(into, value); err != nil {
		r.wrong(path, variable, err)
	}
	if isRegion {
		r.setup.Regions[name] = own
	}
}

// envName returns the environment variable for the name of a region and a setting.
func envName(name string) string {
	return mark + strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c - 'a' + 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return c
		}
		return '_'
	}, name)
}
