package cbor_test

import (
	"testing"

	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/codec/codectest"
)

func TestContract(t *testing.T) {
	codectest.Run(t, cbor.New(), func(name string) bool { return name == "complex" })
}
