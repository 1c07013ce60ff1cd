package region

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/mangle"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/spelling"
)

// ConfigureAll configures all declared regions, or none. The regions of setup have to be
// those that were declared and are not configured yet: a region that stands in one place
// only is a problem, which says which.
//
// Each of adjust is called for each region, in the order of their names, with the
// configuration made of setup, and may change it: it can set what cannot stand in a file,
// such as an Observer. It must not configure regions. Config.Backend is open by then, and
// another region may have the same: whoever replaces it closes it when no region uses it.
//
// The error is a [*SetupError] with everything that is wrong, at once; it wraps
// [ErrConfig]. What ConfigureAll has opened is closed then, and a backend that adjust has
// brought is not. Backends are opened but need not answer.
func ConfigureAll(setup Setup, adjust ...func(name string, cfg *Config)) error {
	p := &problems{setup: &setup}
	plans := setup.check(p)
	opened := openAll(p, plans)
	done := false
	defer func() {
		if !done {
			for _, b := range opened {
				_ = b.Close()
			}
		}
	}()
	if err := p.err(); err != nil {
		return err
	}
	for _, plan := range plans {
		for _, change := range adjust {
			if change != nil {
				change(plan.name, &plan.config)
			}
		}
	}
	done = configureTogether(p, plans)
	return p.err()
}

// Check returns what ConfigureAll would find wrong before it opens anything: a
// [*SetupError], or nil.
func (s Setup) Check() error {
	p := &problems{setup: &s}
	s.check(p)
	return p.err()
}

// plan is how one region will be configured.
type plan struct {
	name   string
	region *Region
	config Config

	backend string // as it stands there: a name or a URL
	url     string
	setting string // where backend stands
}

// check returns the plans of the regions in the order of their names.
func (s *Setup) check(p *problems) (plans []*plan) {
	for _, name := range slices.Sorted(maps.Keys(s.Backends)) {
		setting := "backends." + name
		switch url := s.Backends[name]; {
		case name == "" || strings.ContainsAny(name, ":/"):
			p.addf(setting, "the name of a backend has neither : nor / in it, as URLs have, and is not empty")
		case url == "":
			p.addf(setting, "has no URL; write for example \"memory:\", in quotes, or redis://127.0.0.1:6379/0")
		default:
			checkScheme(p, setting, url)
		}
	}
	s.checkNames(p)
	for _, name := range slices.Sorted(maps.Keys(s.Regions)) {
		if plan := s.plan(p, name); plan != nil {
			plans = append(plans, plan)
		}
	}
	return plans
}

// checkNames compares the regions that are to be configured with those that were declared.
func (s *Setup) checkNames(p *problems) {
	names := Declared()
	for _, name := range slices.Sorted(maps.Keys(s.Regions)) {
		setting := "regions." + name
		r := Named(name)
		switch {
		case checkName(name) != nil:
			p.add(setting, checkName(name))
		case r == nil:
			hint := "no region is declared; call region.Declare in the package that uses it, and import that package"
			if meant := spelling.Nearest(name, names); meant != "" {
				hint = fmt.Sprintf("did you mean %q?", meant)
			} else if len(names) > 0 {
				hint = "declared are " + strings.Join(names, ", ")
			}
			p.addf(setting, "no region of this name is declared: %s", hint)
		case r.state.Load() != nil:
			p.add(setting, ErrAlreadyConfigured)
		}
	}
	for _, name := range names {
		if _, ok := s.Regions[name]; !ok && Named(name).state.Load() == nil {
			p.addf("regions", "the region %q is declared and not configured here; add it, with {} if it has all from defaults", name)
		}
	}
}

// plan makes the configuration of a region, except its backend. It is nil if there is no
// such region.
func (s *Setup) plan(p *problems, name string) *plan {
	own, all := s.Regions[name], s.Defaults
	here, there := "regions."+name, "defaults"
	pl := &plan{name: name, region: Named(name)}
	c := &pl.config

	pl.backend, pl.setting = own.Backend, here+".backend"
	if pl.backend == "" {
		pl.backend, pl.setting = all.Backend, there+".backend"
	}
	switch url, known := s.Backends[pl.backend]; {
	case pl.backend == "":
		p.add(here, &lack{"defaults", fmt.Sprintf("no backend is set, and defaults have none; write backend: and one of %s, or a URL", s.backendNames())})
	case known:
		pl.url, pl.setting = url, "backends."+pl.backend
	case strings.Contains(pl.backend, ":"):
		pl.url = pl.backend
		checkScheme(p, pl.setting, pl.url)
	default:
		hint := "there are " + s.backendNames()
		if meant := spelling.Nearest(pl.backend, slices.Collect(maps.Keys(s.Backends))); meant != "" {
			hint = fmt.Sprintf("did you mean %q?", meant)
		}
		p.add(pl.setting, &lack{"backends", fmt.Sprintf("%.60q is neither the name of a backend nor a URL: %s", pl.backend, hint)})
	}

	// chosen returns where the setting stands that counts.
	chosen := func(setting string, isOwn bool) string {
		if isOwn {
			return here + "." + setting
		}
		return there + "." + setting
	}
	if name := own.Codec; name != "" || all.Codec != "" {
		if name == "" {
			name = all.Codec
		}
		var err error
		if c.Codec, err = codec.Open(name); err != nil {
			p.add(chosen("codec", own.Codec != ""), err)
		}
	}
	if text := cmp.Or(own.Interop, all.Interop); text != "" && text != "none" {
		var err error
		if c.Interop, err = codec.OpenFormat(text); err != nil {
			p.add(chosen("interop", own.Interop != ""), err)
		}
	}
	if spec := cmp.Or(own.KeyMangler, all.KeyMangler); spec != "" {
		mangler, err := mangle.Parse(spec)
		if err != nil {
			p.add(chosen("key_mangler", own.KeyMangler != ""), err)
		}
		c.KeyMangler = mangler
	}
	span := func(setting string, own, all *Duration, into *time.Duration, special ...time.Duration) {
		d := own
		if d == nil {
			d = all
		}
		if d == nil {
			return
		}
		*into = time.Duration(*d)
		switch {
		case *into >= 0 || slices.Contains(special, *into):
		case *into == Forever:
			p.addf(chosen(setting, own != nil), "forever is no value for it; write a time such as 5m")
		case *into == NoStale:
			p.addf(chosen(setting, own != nil), "none is no value for it; write a time such as 5m")
		default:
			p.addf(chosen(setting, own != nil), "is negative (%v)", *into)
		}
	}
	span("expiration", own.Expiration, all.Expiration, &c.Expiration, Forever)
	if expiration := either(own.Expiration, all.Expiration); expiration == nil {
		p.add(here, &lack{"defaults", "expiration is not set, and neither in defaults; write the age at which a value is created anew, such as 5m, or forever"})
	} else if *expiration == 0 {
		p.addf(chosen("expiration", own.Expiration != nil), "is zero; write the age at which a value is created anew, such as 5m, or forever")
	}
	span("stale_for", own.StaleFor, all.StaleFor, &c.StaleFor, Forever, NoStale)
	if d := either(own.StaleFor, all.StaleFor); d != nil && *d == 0 {
		c.StaleFor = NoStale // somebody who writes 0s means that, and not the default
	}
	span("not_found_for", own.NotFoundFor, all.NotFoundFor, &c.NotFoundFor)
	span("create_timeout", own.CreateTimeout, all.CreateTimeout, &c.CreateTimeout, Forever)
	span("max_wait", own.MaxWait, all.MaxWait, &c.MaxWait, Forever)
	span("close_timeout", own.CloseTimeout, all.CloseTimeout, &c.CloseTimeout)
	if r := either(own.Refresh, all.Refresh); r != nil {
		c.Refresh = *r
		if *r != Foreground && *r != Background {
			p.addf(chosen("refresh", own.Refresh != nil), "is %d; it is region.Foreground or region.Background", *r)
		}
	}
	if b := either(own.CancelOnLeaseLost, all.CancelOnLeaseLost); b != nil {
		c.CancelOnLeaseLost = *b
	}
	if b := either(own.Disabled, all.Disabled); b != nil {
		c.Disabled = *b
	}
	if pl.region == nil {
		return nil
	}
	return pl
}

// either returns the first of two settings that is set.
func either[T any](own, all *T) *T {
	if own != nil {
		return own
	}
	return all
}

func (s *Setup) backendNames() string {
	if len(s.Backends) == 0 {
		return "backends, of which there are none"
	}
	return strings.Join(slices.Sorted(maps.Keys(s.Backends)), ", ")
}

// checkScheme refuses a URL that no backend will open.
func checkScheme(p *problems, setting, url string) {
	scheme, _, found := strings.Cut(url, ":")
	known := backend.Schemes()
	switch {
	case !found:
		p.addf(setting, "is no URL; write for example \"memory:\", in quotes, or redis://127.0.0.1:6379/0")
	case slices.Contains(known, strings.ToLower(scheme)):
	default:
		hint := "import the backend's package, for example _ \"github.com/dogpile-go/dogpile/backend/memory\""
		if meant := spelling.Nearest(scheme, known); meant != "" {
			hint = fmt.Sprintf("did you mean %q?", meant)
		}
		list := strings.Join(known, ", ")
		if list == "" {
			list = "none"
		}
		p.addf(setting, "%w %.40q: %s Registered are %s", backend.ErrUnknownScheme, scheme, hint, list)
	}
}

// openAll opens the backends of plans, each URL once, and returns those that were opened.
func openAll(p *problems, plans []*plan) (opened []backend.Backend) {
	if len(p.list) > 0 {
		// Some of what stands in the way may have been told of, so only what is new is
		// added below; a backend that opens is closed again.
		known := map[string]bool{}
		for _, problem := range p.list {
			known[problem.Setting] = true
		}
		plans = slices.DeleteFunc(slices.Clone(plans), func(pl *plan) bool { return known[pl.setting] || pl.url == "" })
	}
	type opening struct {
		b   backend.Backend
		err error
	}
	byURL := map[string]opening{}
	for _, pl := range plans {
		o, ok := byURL[pl.url]
		if !ok {
			o.b, o.err = backend.Open(pl.url)
			byURL[pl.url] = o
			if o.err != nil {
				p.add(pl.setting, o.err)
			} else {
				opened = append(opened, o.b)
			}
		}
		pl.config.Backend = o.b
	}
	return opened
}

// configureTogether configures the regions of plans and reports whether it has.
func configureTogether(p *problems, plans []*plan) bool {
	for _, pl := range plans {
		pl.region.change.Lock()
		defer pl.region.change.Unlock()
	}
	states := make([]*state, 0, len(plans))
	for _, pl := range plans {
		if pl.region.state.Load() != nil { // somebody else was first
			p.add("regions."+pl.name, ErrAlreadyConfigured)
			continue
		}
		next, err := pl.region.open(pl.config)
		if err != nil {
			p.add("regions."+pl.name, errors.Unwrap(err)) // without the region's name
			continue
		}
		states = append(states, next)
	}
	if len(p.list) > 0 {
		// The backends are closed by whoever has opened them, as after Configure has
		// returned an error.
		for _, st := range states {
			shares.drop(st.Backend)
		}
		return false
	}
	for i, pl := range plans {
		pl.region.state.Store(states[i])
		pl.region.closed.Store(false)
	}
	return true
}
