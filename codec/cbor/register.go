package cbor

import "github.com/dogpile-go/dogpile/codec"

func init() {
	// It fails only if the program has given the name to a codec of its own, which then
	// is what the program wants.
	_ = codec.Register("cbor", func() (codec.Codec, error) { return New(), nil })
}
