package codec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dogpile-go/dogpile/internal/spelling"
)

// ErrUnknown is wrapped by the error of [Open] for a name of which no imported
// package has registered some part.
var ErrUnknown = errors.New("codec: unknown codec")

// packages are where the names of this module come from, for errors that say what
// to import.
var packages = map[string]string{
	"cbor":    "codec/cbor",
	"json":    "codec/json",
	"msgpack": "codec/msgpack",
	"pickle":  "codec/dogpilepy",
	"raw":     "codec/raw",
	"zstd":    "codec/compress",
	"gzip":    "codec/compress",
	"aesgcm":  "codec/encrypt",
}

// The names of this module, known also if their packages are not imported.
var (
	codecsHere = []string{"cbor", "json", "msgpack", "pickle", "raw"}
	layersHere = []string{"aesgcm", "gzip", "zstd"}
)

// Open opens the codec of that name: a codec, and behind it what its bytes go
// through when they are stored, with plus signs between them, such as "json",
// "cbor+zstd", "raw+gzip" or "cbor+zstd+aesgcm". Case does not count. There can be
// one compression and one encryption, in this order, because what is encrypted
// cannot be compressed. The layers have their defaults; encryption finds its keys
// in the environment, see codec/encrypt.
//
// The packages of all parts have to be imported, by their names or with blank
// imports; a region imports cbor. Open returns an error that wraps [ErrUnknown]
// and says what was meant, or what to import, if a part is not registered.
func Open(name string) (Codec, error) {
	parts := strings.Split(strings.ToLower(name), "+")
	if slices.Contains(parts, "") {
		return nil, fmt.Errorf("codec: %.60q lacks a part: write for example \"cbor\" or \"cbor+zstd\"", name)
	}
	open := codecOf(parts[0])
	if open == nil {
		return nil, notACodec(parts[0])
	}
	// Everything is looked at before anything is opened: keys are not read for a
	// name that is wrong.
	for i, part := range parts[1:] {
		if layerOf(part).stage == 0 {
			return nil, notALayer(parts[0], part)
		}
		if err := fits(parts[:i+1], part); err != nil {
			return nil, err
		}
	}
	c, err := open()
	for i, part := range parts[1:] {
		if err != nil {
			return nil, openError(parts[:i+1], err)
		}
		c, err = layerOf(part).wrap(c)
	}
	if err != nil {
		return nil, openError(parts, err)
	}
	return c, nil
}

func openError(parts []string, err error) error {
	return fmt.Errorf("codec: open %s: %w", strings.Join(parts, "+"), err)
}

// Stacked returns the name of a codec that wraps inner with the registered layer
// of that name, such as "cbor+zstd". It returns an error if inner is nil or has a
// layer that layer cannot stand behind. Whoever makes such codecs asks it, so that
// the rules of [Open] hold also for codecs that are not opened by name.
func Stacked(inner Codec, layer string) (string, error) {
	if inner == nil {
		return "", fmt.Errorf("codec: %s has no codec to wrap: give it one, such as cbor.New()", layer)
	}
	if layerOf(layer).stage == 0 {
		return "", fmt.Errorf("%w: there is no layer %.60q", ErrUnknown, layer)
	}
	name := inner.Name()
	if err := fits(strings.Split(name, "+"), layer); err != nil {
		return "", err
	}
	return name + "+" + layer, nil
}

// fits says why next cannot stand behind parts, of which the first is a codec.
func fits(parts []string, next string) error {
	stage := layerOf(next).stage
	for i, part := range parts[1:] {
		whole := strings.Join(parts, "+") + "+" + next
		switch before := layerOf(part).stage; {
		case before == stage && stage == Compression:
			return fmt.Errorf("codec: %q compresses twice: leave out %s or %s", whole, part, next)
		case before == stage:
			return fmt.Errorf("codec: %q encrypts twice: leave out %s or %s", whole, part, next)
		case before > stage:
			better := slices.Insert(slices.Clone(parts), i+1, next)
			return fmt.Errorf("codec: in %q %s finds only what %s has encrypted, which cannot be compressed: write %q",
				whole, next, part, strings.Join(better, "+"))
		}
	}
	return nil
}

// notACodec is the error for a first part that is none.
func notACodec(part string) error {
	if layerOf(part).stage != 0 {
		return fmt.Errorf("codec: %q wraps a codec and has none in front of it: write for example \"cbor+%s\"", part, part)
	}
	return unknown("codec", part, Names(), codecsHere)
}

// notALayer is the error for a part behind the codec first that is no layer.
func notALayer(first, part string) error {
	if codecOf(part) != nil {
		return fmt.Errorf("codec: \"%s+%s\" are two codecs: leave out one of them; behind a codec stands what wraps it, such as zstd", first, part)
	}
	return unknown("layer", part, Layers(), layersHere)
}

// unknown is the error for a part that is not among registered. here are the names
// of this module, registered or not.
func unknown(what, part string, registered, here []string) error {
	if slices.Contains(here, part) {
		return fmt.Errorf("%w %q: its package is not imported: import _ %q", ErrUnknown, part, importPath(part))
	}
	list := strings.Join(registered, ", ")
	if list == "" {
		list = "none"
	}
	switch meant := spelling.Nearest(part, append(slices.Clone(registered), here...)); {
	case meant == "":
		return fmt.Errorf("%w: there is no %s %.60q; registered are %s; import the package that has it", ErrUnknown, what, part, list)
	case slices.Contains(registered, meant):
		return fmt.Errorf("%w: there is no %s %q: did you mean %q? Registered are %s", ErrUnknown, what, part, meant, list)
	default:
		return fmt.Errorf("%w: there is no %s %q: did you mean %q? Then import _ %q", ErrUnknown, what, part, meant, importPath(meant))
	}
}

func importPath(name string) string {
	return "github.com/dogpile-go/dogpile/" + packages[name]
}
