package codec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Stage is what a layer does with the bytes of the codec that it wraps. It tells
// which layers go together, and in which order.
type Stage int

// The stages, in the order in which they stand in a name.
const (
	Compression Stage = iota + 1 // makes the bytes fewer
	Encryption                   // makes them unreadable, and no longer compressible
)

// layer is a registered way to wrap a codec.
type layer struct {
	stage Stage
	wrap  func(inner Codec) (Codec, error)
}

var registry = struct {
	sync.RWMutex
	codecs map[string]func() (Codec, error)
	layers map[string]layer
}{codecs: map[string]func() (Codec, error){}, layers: map[string]layer{}}

// Register makes open answer in [Open] for name, as sql.Register does for drivers.
// Codecs call it when they are imported. The Name of what open returns should be
// name, in lower case. It returns an error if open is nil, if the name is taken,
// or if it is anything but letters, digits, "-", "_" and ".".
func Register(name string, open func() (Codec, error)) error {
	if open == nil {
		return errors.New("codec: Register needs a function that opens the codec")
	}
	return register(name, func(name string) { registry.codecs[name] = open })
}

// RegisterLayer makes wrap answer in [Open] for name where that stands behind the
// name of a codec and a plus sign, as in "cbor+zstd". wrap returns a codec whose
// Name is what [Stacked] returns for inner and name. RegisterLayer returns an error
// if wrap is nil or stage is none, and for the same names as [Register].
func RegisterLayer(name string, stage Stage, wrap func(inner Codec) (Codec, error)) error {
	if wrap == nil || stage < Compression || stage > Encryption {
		return errors.New("codec: RegisterLayer needs a stage and a function that wraps a codec")
	}
	return register(name, func(name string) { registry.layers[name] = layer{stage, wrap} })
}

func register(name string, add func(name string)) error {
	name = strings.ToLower(name)
	if !valid(name) {
		return fmt.Errorf("codec: %.60q cannot be the name of a codec: it is made of letters, digits, \"-\", \"_\" and \".\"", name)
	}
	registry.Lock()
	defer registry.Unlock()
	_, isCodec := registry.codecs[name]
	_, isLayer := registry.layers[name]
	if isCodec || isLayer {
		return fmt.Errorf("codec: the name %q is registered already", name)
	}
	add(name)
	return nil
}

func valid(name string) bool {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}
	return name != "" && !strings.ContainsFunc(name, odd)
}

// Names returns the registered codecs in alphabetical order.
func Names() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Sorted(maps.Keys(registry.codecs))
}

// Layers returns what can stand behind the name of a codec and a plus sign, in
// alphabetical order.
func Layers() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Sorted(maps.Keys(registry.layers))
}

// codecOf returns what opens the codec of that name, or nil.
func codecOf(name string) func() (Codec, error) {
	registry.RLock()
	defer registry.RUnlock()
	return registry.codecs[name]
}

// layerOf returns the layer of that name; it has no stage if there is none.
func layerOf(name string) layer {
	registry.RLock()
	defer registry.RUnlock()
	return registry.layers[name]
}
