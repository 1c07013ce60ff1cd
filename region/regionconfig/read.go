package regionconfig

import (
	"bytes"
	"fmt"

	"github.com/dogpile-go/dogpile/region"
)

// reader makes a setup of what was parsed, and notes what is wrong with it.
type reader struct {
	setup    region.Setup
	origins  map[string]string
	problems []region.Problem
	used     map[string]bool // the environment variables that stand in URLs
	added    []string        // the backends that only the environment names
}

func newReader() *reader {
	r := &reader{origins: map[string]string{}, used: map[string]bool{}}
	r.setup.Backends, r.setup.Regions = map[string]string{}, map[string]region.RegionSetup{}
	r.setup.Origin = func(setting string) string { return r.origins[setting] }
	return r
}

// read is what YAML and JSON do.
func read(name string, data []byte, parse func([]byte) (*node, *fault)) (region.Setup, error) {
	r, err := readTree(name, data, parse)
	if err == nil {
		err = r.err()
	}
	if err != nil {
		return region.Setup{}, err
	}
	return r.setup, nil
}

func readTree(name string, data []byte, parse func([]byte) (*node, *fault)) (*reader, error) {
	if len(data) > largest {
		line := 1 + bytes.Count(data[:largest], []byte("\n"))
		return nil, unreadable(name, faultf(line, "here the file goes beyond %d bytes, which are the most", largest))
	}
	root, f := parse(data)
	if f != nil {
		return nil, unreadable(name, f)
	}
	r := newReader()
	r.file(name, root)
	return r, nil
}

func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return &region.SetupError{Problems: r.problems}
}

// wrong notes a problem, at the place of the setting unless another is given.
func (r *reader) wrong(setting, origin string, err error) {
	if origin == "" {
		origin = r.origins[setting]
	}
	r.problems = append(r.problems, region.Problem{Setting: setting, Origin: origin, Err: err})
}

// sections are the top-level keys.
var sections = []string{"backends", "defaults", "regions"}

// file reads the whole of a file.
func (r *reader) file(name string, root *node) {
	r.origins[""] = at(name, root.line)
	if root.kind != mapping {
		r.wrong("", "", fmt.Errorf("the file is %v; it has to be a mapping with regions: in it", root.kind))
		return
	}
	seen := map[string]bool{}
	for _, e := range root.entries {
		seen[e.key] = true
		switch e.key {
		case "backends":
			r.each(name, e, r.backend)
		case "defaults":
			r.origins[e.key] = at(name, e.line)
			r.region(name, e.key, e.value, &r.setup.Defaults)
		case "regions":
			r.each(name, e, func(name, setting string, e entry) {
				var s region.RegionSetup
				if e.value.kind == nothing {
					r.wrong(setting, "", fmt.Errorf("is empty; write {} for a region that has all from defaults"))
				} else {
					r.region(name, setting, e.value, &s)
				}
				r.setup.Regions[e.key] = s
			})
		default:
			if len(e.key) < 2 || e.key[:2] != "x-" {
				r.wrong(e.key, at(name, e.line), unknown("section", e.key, sections))
			}
		}
	}
	if !seen["regions"] {
		r.wrong("", "", fmt.Errorf("regions are missing; write regions: and the regions below it"))
	}
}

// each reads the entries of a section.
func (r *reader) each(name string, section entry, read func(name, setting string, e entry)) {
	r.origins[section.key] = at(name, section.line)
	if section.value.kind != mapping {
		r.wrong(section.key, "", fmt.Errorf("is %v; it has to be a mapping of names", section.value.kind))
		return
	}
	for _, e := range section.value.entries {
		setting := section.key + "." + e.key
		r.origins[setting] = at(name, e.line)
		read(name, setting, e)
	}
}

func (r *reader) backend(_, setting string, e entry) {
	if e.value.kind != text {
		r.wrong(setting, "", fmt.Errorf("is %v; it has to be a URL, such as memory: or redis://127.0.0.1:6379/0", e.value.kind))
		return
	}
	r.setup.Backends[e.key] = r.expanded(setting, e.value.text)
}

// region reads the settings of a region, or of defaults.
func (r *reader) region(name, path string, from *node, into *region.RegionSetup) {
	if from.kind != mapping {
		r.wrong(path, "", fmt.Errorf("is %v; it has to be a mapping of settings, such as {expiration: 5m}", from.kind))
		return
	}
	for _, e := range from.entries {
		setting := path + "." + e.key
		r.origins[setting] = at(name, e.line)
		s, ok := settingOf(e.key)
		switch {
		case !ok:
			r.wrong(setting, "", unknown("setting", e.key, settingNames()))
		case e.value.kind == nothing:
			r.wrong(setting, "", fmt.Errorf("has no value; leave it out to have that of defaults"))
		case e.value.kind == list || e.value.kind == mapping:
			r.wrong(setting, "", fmt.Errorf("is %v; it has to be %v", e.value.kind, s.takes()))
		case s.takes() == boolean && e.value.kind != boolean:
			r.wrong(setting, "", fmt.Errorf("is %v, %.40q; it has to be true or false", e.value.kind, e.value.text))
		case e.value.kind == boolean && s.takes() != boolean:
			r.wrong(setting, "", fmt.Errorf("is %s; it has to be a text", e.value.text))
		default:
			r.setText(setting, s, into, e.value.text)
		}
	}
}

// setText sets a setting, whose environment variables are replaced if it is a backend.
func (r *reader) setText(path string, s setting, into *region.RegionSetup, value string) {
	if s.name == "backend" {
		before := len(r.problems)
		if value = r.expanded(path, value); len(r.problems) > before {
			return
		}
	}
	if err := s.set(into, value); err != nil {
		r.wrong(path, "", err)
	}
}
