// Package codec defines how a region turns values into bytes for backends that
// store bytes. The folders below hold the implementations: cbor (the default),
// json, msgpack and raw, and dogpilepy for what is shared with Python's
// dogpile.cache. Backends that keep Go values, such as memory without Copy, use
// no codec.
//
// Codecs stack: compress and encrypt wrap another codec. [Open] finds all of them
// by name, as in "cbor+zstd+aesgcm", if their packages are imported.
package codec

import "errors"

// ErrUnsupported is wrapped by the error that a Codec returns for a value it
// cannot encode: a channel, a function, cyclic data, or a type it does not know.
var ErrUnsupported = errors.New("codec: value cannot be encoded")

// Codec turns values into bytes and back. Its methods are safe for concurrent
// use. They may panic only where a method of the user's own type does; the
// region turns that into an error.
type Codec interface {
	// Name identifies the codec in stored values, so that bytes written by
	// another codec are a miss and never decoded wrongly. It must not change
	// between releases.
	Name() string

	// Append encodes v and appends the bytes to dst, which it returns extended.
	// On an error it returns dst as it was. The result never shares memory with
	// v.
	Append(dst []byte, v any) ([]byte, error)

	// Decode decodes data into the value that into points to, which is a fresh
	// zero value. What it decodes never shares memory with data. It returns an
	// error for bytes that Append did not produce, and allocates no more than a
	// small multiple of len(data) before it does; a codec that decompresses has a
	// limit instead.
	Decode(data []byte, into any) error
}
