package regionconfig

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dogpile-go/dogpile/region"
)

var errNotSet = errors.New("is not set")

// overridden forgets that the URL of a backend lacks a variable, as it is not used.
func (r *reader) overridden(setting string) {
	r.problems = slices.DeleteFunc(r.problems, func(p region.Problem) bool {
		return p.Setting == setting && errors.Is(p.Err, errNotSet)
	})
}

// expanded replaces the environment variables in the URL of a backend. What stands
// between // and @ is a user and a password, in which special characters are escaped.
func (r *reader) expanded(setting, url string) string {
	var out strings.Builder
	rest := url
	for {
		before, from, found := strings.Cut(rest, "${")
		if !found {
			out.WriteString(rest)
			return out.String()
		}
		if strings.HasSuffix(before, "$") {
			out.WriteString(strings.TrimSuffix(before, "$") + "${")
			rest = from
			continue
		}
		out.WriteString(before)
		name, behind, closed := strings.Cut(from, "}")
		if !closed || name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			r.wrong(setting, "", fmt.Errorf("${ stands there without the name of an environment variable and }; write $${ for the two characters themselves"))
			return ""
		}
		r.used[name] = true
		value, set := os.LookupEnv(name)
		if !set || value == "" {
			r.wrong(setting, "", fmt.Errorf("the environment variable %s %w", name, errNotSet))
			return ""
		}
		if secret(out.String(), behind) {
			value = escaped(value)
		}
		out.WriteString(value)
		rest = behind
	}
}

// secret reports whether what stands between before and behind is a part of a URL's user
// or password.
func secret(before, behind string) bool {
	_, inside, found := strings.Cut(before, "://")
	if !found || strings.ContainsAny(inside, "@/?#") {
		return false
	}
	end := strings.IndexAny(behind, "@/?#")
	return end >= 0 && behind[end] == '@'
}

// escaped writes all but letters, digits and -._~ with percent signs.
func escaped(text string) string {
	var out strings.Builder
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}
