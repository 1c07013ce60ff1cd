package region

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Setup is the configuration of all declared regions of a program, as it stands in a
// file: what [ConfigureAll] takes. Package regionconfig loads it from YAML, JSON, flat
// maps and the environment; other libraries that know encoding.TextUnmarshaler can load
// it as a part of a program's own configuration.
type Setup struct {
	// Backends are the URLs of the backends that regions share, by the names under
	// which they ask for them; see [backend.Open]. Each is opened once, and closed with
	// the last region that uses it. One that no region asks for is not opened.
	Backends map[string]string `yaml:"backends,omitempty" json:"backends,omitempty"`

	// Defaults are what regions get that do not say otherwise.
	Defaults RegionSetup `yaml:"defaults,omitempty" json:"defaults,omitzero"`

	// Regions are the regions by their names, which are those of the declared ones. An
	// empty RegionSetup is one that has all from Defaults.
	Regions map[string]RegionSetup `yaml:"regions" json:"regions"`

	// Origin tells where a setting such as "regions.users.expiration" stands, as
	// "cache.yaml:12", for errors. Nil tells nothing.
	Origin func(setting string) string `yaml:"-" json:"-"`
}

// RegionSetup is the configuration of one region. What is not set, which is "" or nil,
// is as in Setup.Defaults, and if it is not set there, as in a [Config].
type RegionSetup struct {
	// Backend is the name of one of Setup.Backends, or a URL. It must be set here or in
	// Defaults.
	Backend string `yaml:"backend,omitempty" json:"backend,omitempty"`

	// Codec is the name of the Config.Codec, such as "json" or "cbor+zstd"; see
	// [codec.Open].
	Codec string `yaml:"codec,omitempty" json:"codec,omitempty"`

	// Interop is the Config.Interop, such as "dogpilepy", whose package has to be imported,
	// or "none"; see [codec.OpenFormat].
	Interop string `yaml:"interop,omitempty" json:"interop,omitempty"`

	// KeyMangler is the Config.KeyMangler, such as "sha256:200"; see [mangle.Parse].
	KeyMangler string `yaml:"key_mangler,omitempty" json:"key_mangler,omitempty"`

	// The fields that follow are those of [Config]. Expiration must be set here or in
	// Defaults.
	Expiration        *Duration `yaml:"expiration,omitempty" json:"expiration,omitempty"`
	StaleFor          *Duration `yaml:"stale_for,omitempty" json:"stale_for,omitempty"`
	Refresh           *Refresh  `yaml:"refresh,omitempty" json:"refresh,omitempty"`
	NotFoundFor       *Duration `yaml:"not_found_for,omitempty" json:"not_found_for,omitempty"`
	CreateTimeout     *Duration `yaml:"create_timeout,omitempty" json:"create_timeout,omitempty"`
	CancelOnLeaseLost *bool     `yaml:"cancel_on_lease_lost,omitempty" json:"cancel_on_lease_lost,omitempty"`
	MaxWait           *Duration `yaml:"max_wait,omitempty" json:"max_wait,omitempty"`
	CloseTimeout      *Duration `yaml:"close_timeout,omitempty" json:"close_timeout,omitempty"`
	Disabled          *bool     `yaml:"disabled,omitempty" json:"disabled,omitempty"`
}

// Duration is a [time.Duration] that is written as "5m", "1h30m" or "forever", which is
// [Forever], or "none", which is [NoStale] and for StaleFor alone.
type Duration time.Duration

// UnmarshalText reads a Duration.
func (d *Duration) UnmarshalText(text []byte) error {
	switch s := strings.TrimSpace(string(text)); strings.ToLower(s) {
	case "forever":
		*d = Duration(Forever)
	case "none":
		*d = Duration(NoStale)
	default:
		span, err := time.ParseDuration(s)
		switch {
		case err == nil && span < 0:
			return fmt.Errorf("%q is negative; write a time such as 5m, or forever", s)
		case err == nil:
			*d = Duration(span)
		case isNumber(s):
			return fmt.Errorf("%q has no unit; write %ss for seconds, or a time such as 5m or 1h30m", s, s)
		case strings.HasSuffix(s, "d") && isNumber(strings.TrimSuffix(s, "d")):
			return fmt.Errorf("%q is in days, which are not always as long; write hours, such as 24h", s)
		default:
			return fmt.Errorf("%.40q is no time; write for example 90s, 5m, 1h30m or forever", s)
		}
	}
	return nil
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789.") == "" && strings.Trim(s, ".") != ""
}

// MarshalText writes a Duration as it is read.
func (d Duration) MarshalText() ([]byte, error) {
	switch time.Duration(d) {
	case Forever:
		return []byte("forever"), nil
	case NoStale:
		return []byte("none"), nil
	}
	return []byte(time.Duration(d).String()), nil
}

// UnmarshalText reads "foreground" or "background".
func (r *Refresh) UnmarshalText(text []byte) error {
	switch s := strings.ToLower(strings.TrimSpace(string(text))); s {
	case "foreground":
		*r = Foreground
	case "background":
		*r = Background
	default:
		return fmt.Errorf("%.40q is no way to refresh; write foreground or background", s)
	}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r Refresh) MarshalText() ([]byte, error) {
	switch r {
	case Foreground:
		return []byte("foreground"), nil
	case Background:
		return []byte("background"), nil
	}
	return nil, fmt.Errorf("%w: Refresh is %d; it is region.Foreground or region.Background", ErrConfig, int(r))
}

// Problem is one thing that is wrong with a [Setup].
type Problem struct {
	// Setting is what is wrong, such as "regions.users.expiration"; "" if it is none in
	// particular.
	Setting string

	// Origin is where it stands, such as "cache.yaml:12" or the name of an environment
	// variable; "" if that is not known.
	Origin string

	// Err says what is wrong with it.
	Err error
}

// Error says where it is and what is wrong.
func (p Problem) Error() string {
	text := p.Err.Error()
	if p.Setting != "" {
		text = shown(p.Setting) + ": " + text
	}
	if p.Origin != "" {
		text = p.Origin + ": " + text
	}
	return text
}

// shown returns a name from a file as it can stand on a line.
func shown(name string) string {
	const most = 120
	if len(name) > most || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return fmt.Sprintf("%.*q", most, name)
	}
	return name
}

// Unwrap returns Err.
func (p Problem) Unwrap() error { return p.Err }

// SetupError is all that is wrong with a [Setup]. It wraps [ErrConfig] and the Err of
// every problem.
type SetupError struct {
	Problems []Problem // at least one
}

// Error has a line for each problem.
func (e *SetupError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	if len(lines) == 1 {
		return "region: " + ErrConfig.Error() + ": " + lines[0]
	}
	return fmt.Sprintf("region: %v, %d problems:\n\t%s", ErrConfig, len(lines), strings.Join(lines, "\n\t"))
}

// Unwrap returns ErrConfig and the problems.
func (e *SetupError) Unwrap() []error {
	errs := []error{ErrConfig}
	for _, p := range e.Problems {
		errs = append(errs, p)
	}
	return errs
}

// problems collects what is wrong.
type problems struct {
	setup *Setup
	list  []Problem
}

func (p *problems) add(setting string, err error) {
	p.list = append(p.list, Problem{Setting: setting, Origin: p.setup.origin(setting), Err: err})
}

func (p *problems) addf(setting, format string, args ...any) {
	p.add(setting, fmt.Errorf(format, args...))
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &SetupError{p.list}
}

// origin tells where a setting stands, or else what it is in.
func (s *Setup) origin(setting string) string {
	if s.Origin == nil {
		return ""
	}
	for {
		if at := s.Origin(setting); at != "" {
			return at
		}
		i := strings.LastIndexByte(setting, '.')
		if i < 0 {
			return s.Origin("")
		}
		setting = setting[:i]
	}
}

// lack is the Err of a setting for which something is not there. Package regionconfig
// asks it where that could stand, which may be what it could not read.
type lack struct{ section, text string }

func (l *lack) Error() string { return l.text }

// Section returns the name of the section that could have it.
func (l *lack) Section() string { return l.section }
