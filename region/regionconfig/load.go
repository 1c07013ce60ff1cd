package regionconfig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dogpile-go/dogpile/region"
)

// Load reads a setup from a file, whose name ends with .yaml, .yml or .json, and from the
// environment, which has the last word; see the package's documentation. It also looks
// for what [region.ConfigureAll] would find wrong before it opens anything, and so tells of
// everything at once: regions have to be declared before.
//
// The error is a [*region.SetupError], which wraps that of the system if the file cannot
// be read.
func Load(path string) (region.Setup, error) {
	parse := parseYAML
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml":
	case ".json":
		parse = parseJSON
	default:
		return region.Setup{}, unreadable(path, faultf(noLine, "the name of the file has to end with .yaml, .yml or .json, to say what it is"))
	}
	data, err := contents(path)
	if err != nil {
		return region.Setup{}, unreadable(path, &fault{noLine, err})
	}
	r, err := readTree(path, data, parse)
	if err != nil {
		return region.Setup{}, err
	}
	r.environment(os.Environ())
	r.check()
	if err := r.err(); err != nil {
		return region.Setup{}, err
	}
	return r.setup, nil
}

// contents reads a file, up to what is too much.
func contents(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, largest+1))
	if err != nil {
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	return data, nil
}

// check adds what is wrong with the setup as a whole, but for what only follows from what
// could not be read.
func (r *reader) check() {
	var wrong *region.SetupError
	if !errors.As(r.setup.Check(), &wrong) {
		return
	}
	before := slices.Clone(r.problems)
	if slices.ContainsFunc(before, func(p region.Problem) bool {
		return p.Setting == "regions" || p.Setting == "" && !strings.HasPrefix(p.Origin, mark)
	}) {
		return // there are no regions to look at
	}
	for _, p := range wrong.Problems {
		if !slices.ContainsFunc(before, func(b region.Problem) bool { return follows(p, b.Setting) }) {
			r.problems = append(r.problems, p)
		}
	}
}

// follows reports whether there may be a problem only because a setting could not be read:
// what is missing may be what stands there.
func follows(p region.Problem, unread string) bool {
	var lack interface {
		error
		Section() string
	}
	if errors.As(p.Err, &lack) {
		// What has no dot is a section, or a variable of the environment.
		return !strings.Contains(unread, ".") || strings.HasPrefix(unread, lack.Section()+".") ||
			unread == p.Setting || strings.HasPrefix(unread, p.Setting+".")
	}
	return p.Setting == unread
}
