package codec_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/codec"
)

// formatOptions is what the opener of "x-format" was last given.
var formatOptions url.Values

var errRefusal = errors.New("no such thing")

func openFormat(options url.Values) (codec.Format, error) {
	formatOptions = options
	if options.Has("bad") {
		return nil, errRefusal
	}
	return nil, nil
}

func init() {
	if err := codec.RegisterFormat("X-Format", openFormat); err != nil {
		panic(err)
	}
}

func TestOpenFormat(t *testing.T) {
	for name, o := range map[string]func(url.Values) (codec.Format, error){"": openFormat, "x y": openFormat, "x+y": openFormat, "x-new": nil} {
		if err := codec.RegisterFormat(name, o); err == nil {
			t.Errorf("the format %q was registered", name)
		}
	}
	if err := codec.RegisterFormat("x-format", openFormat); err == nil {
		t.Error("a format is registered twice")
	}
	if !slices.Contains(codec.Formats(), "x-format") {
		t.Errorf("formats %q, want x-format among them", codec.Formats())
	}
	if _, err := codec.OpenFormat("x-FORMAT?a=1&b=%26"); err != nil || formatOptions.Get("a") != "1" || formatOptions.Get("b") != "&" {
		t.Errorf("options %v, error %v", formatOptions, err)
	}
	if _, err := codec.OpenFormat("x-format?bad=1"); !errors.Is(err, errRefusal) {
		t.Errorf("%v, want the error of the format", err)
	}
	for text, want := range map[string]string{
		"x-format?a=1&a=2": "given twice",
		"x-format?a":       "no value",
		"x-format?a=%zz":   "cannot be read",
		"x-formt":          `did you mean "x-format"`,
		"dogpilepi":        `Then import _ "github.com/dogpile-go/dogpile/codec/dogpilepy"`,
		"dogpilepy":        `import _ "github.com/dogpile-go/dogpile/codec/dogpilepy"`,
		"":                 "registered are",
		"something":        "registered are",
	} {
		if _, err := codec.OpenFormat(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error that says %q", text, err, want)
		}
		if _, err := codec.OpenFormat(text); !strings.HasPrefix(text, "x-format") && !errors.Is(err, codec.ErrUnknownFormat) {
			t.Errorf("%q: %v, want ErrUnknownFormat", text, err)
		}
	}
}
