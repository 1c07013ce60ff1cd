package cbor

import "github.com/dogpile-go/dogpile/codec"

func init() {
	if err := codec.Register("cbor", func() (codec.Codec, error) { return New(), nil }); err != nil {
		panic(err) // two packages for one name: a bug of the program's build
	}
}
