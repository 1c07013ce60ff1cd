package codec_test

import (
	"fmt"

	"github.com/dogpile-go/dogpile/codec"
	_ "github.com/dogpile-go/dogpile/codec/cbor"
	_ "github.com/dogpile-go/dogpile/codec/compress"
)

// A codec by name, as a file of settings has it. region.Config.Codec takes it.
func ExampleOpen() {
	c, err := codec.Open("cbor+zstd")
	fmt.Println(c.Name(), err)

	_, err = codec.Open("zstd")
	fmt.Println(err)
	// Output:
	// cbor+zstd <nil>
	// codec: "zstd" wraps a codec and has none in front of it: write for example "cbor+zstd"
}
