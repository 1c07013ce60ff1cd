package mangle

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/dogpile-go/dogpile/internal/spelling"
)

// ErrSpec is wrapped by the errors of [Parse].
var ErrSpec = errors.New("mangle: this is no key mangler")

// forms are what a part of a spec can be, each with an example.
var forms = []struct{ name, example string }{
	{"prefix", "prefix:v2-"},
	{"sha1", "sha1"},
	{"sha256", "sha256:200"},
}

// Parse returns the mangler that spec describes, for configuration files:
//
//	sha1              SHA1
//	sha1:200          SHA1From(200)
//	sha256:200        SHA256Over(200)
//	prefix:v2-        Prefix("v2-")
//
// or several with plus signs between them, which are applied from left to right, such as
// "prefix:v2-+sha256:200". In a prefix special characters may be written with percent
// signs, and have to be for % (%25) and + (%2B). Case does not count but in prefixes.
//
// An error wraps [ErrSpec] and says what was most likely meant.
func Parse(spec string) (Func, error) {
	var manglers []Func
	for part := range strings.SplitSeq(spec, "+") {
		f, err := parse(part)
		if err != nil {
			return nil, err
		}
		manglers = append(manglers, f)
	}
	if len(manglers) == 1 {
		return manglers[0], nil
	}
	return Chain(manglers...), nil
}

func parse(part string) (Func, error) {
	name, argument, given := strings.Cut(part, ":")
	switch strings.ToLower(name) {
	case "prefix":
		text, err := url.PathUnescape(argument)
		if err != nil {
			return nil, fmt.Errorf("%w: %.60q: write a percent sign as %%25", ErrSpec, part)
		}
		if text == "" {
			return nil, fmt.Errorf("%w: %.60q lacks the text: write for example %q", ErrSpec, part, "prefix:v2-")
		}
		return Prefix(text), nil
	case "sha1":
		if !given {
			return SHA1, nil
		}
		length, err := lengthOf(part, argument)
		return SHA1From(length), err
	case "sha256":
		length, err := lengthOf(part, argument)
		return SHA256Over(length), err
	}
	return nil, unknown(part, name)
}

func lengthOf(part, argument string) (int, error) {
	length, err := strconv.ParseUint(argument, 10, 31)
	if err != nil || length == 0 {
		name, _, _ := strings.Cut(part, ":")
		return 0, fmt.Errorf("%w: %.60q needs the length of the keys that stay as they are, a positive number: write for example \"%s:200\"",
			ErrSpec, part, strings.ToLower(name))
	}
	return int(length), nil
}

// unknown is the error for a part of which nobody knows the name.
func unknown(part, name string) error {
	var names, examples []string
	for _, form := range forms {
		names, examples = append(names, form.name), append(examples, strconv.Quote(form.example))
	}
	all := strings.Join(examples, ", ")
	if part == "" {
		return fmt.Errorf("%w: a part is empty: there are %s, with a plus sign between two", ErrSpec, all)
	}
	meant := spelling.Nearest(name, names)
	for i := range forms {
		if forms[i].name == meant {
			return fmt.Errorf("%w: %.60q: did you mean %s? There are %s", ErrSpec, part, examples[i], all)
		}
	}
	return fmt.Errorf("%w: %.60q: there are %s", ErrSpec, part, all)
}
