package codec

import (
	"errors"
	"strings"
	"testing"
)

// Names of this module whose packages are not imported say what to import.
func TestWhatToImport(t *testing.T) {
	for _, c := range []struct {
		what, part string
		registered []string
		here       []string
		want       string
	}{
		{"codec", "json", []string{"cbor"}, codecsHere, `import _ "github.com/dogpile-go/dogpile/codec/json"`},
		{"codec", "jsno", []string{"cbor"}, codecsHere, `did you mean "json"? Then import _ "github.com/dogpile-go/dogpile/codec/json"`},
		{"layer", "gzip", nil, layersHere, `import _ "github.com/dogpile-go/dogpile/codec/compress"`},
		{"layer", "aes-gcm", nil, layersHere, `did you mean "aesgcm"? Then import _ "github.com/dogpile-go/dogpile/codec/encrypt"`},
		{"layer", "brotli", nil, layersHere, "registered are none"},
	} {
		err := unknown(c.what, c.part, c.registered, c.here)
		if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.part, err, c.want)
		}
	}
	for _, name := range append(codecsHere, layersHere...) {
		if packages[name] == "" {
			t.Errorf("%s is of no package", name)
		}
	}
}
