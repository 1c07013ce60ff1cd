// Package encrypt wraps a codec so that values are stored encrypted, with
// AES-256-GCM. Importing it registers it for [codec.Open], as in "cbor+aesgcm" or
// "cbor+zstd+aesgcm"; opened so, it finds its keys with [FromEnvironment].
//
// # What it protects
//
// Whoever can read the backend, its dumps or its network learns nothing of the
// content of values. A value that was changed, or was encrypted with a key that
// this process does not have, is an error of Decode, which a region takes as a
// miss: never a wrong value.
//
// # What it does not
//
//   - Not hidden are: the names of regions, keys and tags; the sizes of values, and
//     with compression how well they compress, which can tell something of their
//     content to whoever can choose a part of it; when a value was created, how
//     long that took, and the fingerprint of its type; and the ids of the
//     encryption keys.
//   - A value is not bound to its key in the cache: a codec does not learn it. The
//     header in front of the encrypted bytes names it, with a checksum that anybody
//     can compute. So whoever can write into the backend can put the value of one
//     key under another one of the same type and codec, or an old value back in the
//     place of a newer one, and it will be decrypted. Those who may write must be
//     trusted, or values must say whose they are.
//   - Values that a region keeps in the memory of the process are not encrypted:
//     such backends use no codec.
//
// # How many values a key is good for
//
// Each value gets a random nonce of 96 bits. Two values with one nonce and one key
// would give away what they differ in, and let others be forged. Up to 2^32 values
// for each key the chance of that stays below 2^-32, which is the limit that NIST
// SP 800-38D sets. That is 1,000 values a second for 49 days, counted over all
// processes: a busy fleet needs a new key each month.
//
// # Changing keys
//
// Values name the key that they were encrypted with, so old and new ones live side
// by side. First deploy the new key to all processes, behind the current one. When
// all have it, deploy again with the new one as the current one. Take out the old
// one when the values that were stored with it have expired; what is left of them
// are misses then. In one step instead, processes of the old release would not read
// what those of the new one store, and both would create values anew in turns.
//
// # What is stored
//
//	1  version of the format, 1
//	1  length of the id of the key
//	   id
//	12 nonce
//	   ciphertext
//	16 tag
//
// The tag is also over the first three and the name of the codec.
package encrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/dogpile-go/dogpile/codec"
)

// The errors of values that cannot be decrypted. For a region they are misses.
var (
	// ErrUnknownKey is wrapped by the error of Decode for a value that names a key
	// which is not among Keys.
	ErrUnknownKey = errors.New("encrypted with a key that is not configured here")

	// ErrNotAuthentic is wrapped by the error of Decode for bytes that were changed,
	// cut off, encrypted with another key of the same id, by another codec, or not
	// at all.
	ErrNotAuthentic = errors.New("damaged or forged, or the key of this id is another one")
)

const (
	layer    = "aesgcm"
	version  = 1
	overhead = 12 + 16 // nonce and tag
)

func init() {
	// It fails only if the program has given the name to a layer of its own, which then is
	// what the program wants.
	_ = codec.RegisterLayer(layer, codec.Encryption, func(inner codec.Codec) (codec.Codec, error) {
		keys, err := FromEnvironment()
		if err != nil {
			return nil, err
		}
		return AESGCM(inner, keys)
	})
}

// AESGCM returns a codec that encrypts what inner writes. Its Name is that of inner
// and "+aesgcm". It is safe for concurrent use if inner is, which may neither be
// nil nor encrypt itself; an error says so, or what is wrong with keys. It keeps
// nothing of keys, which may be overwritten afterwards.
func AESGCM(inner codec.Codec, keys Keys) (codec.Codec, error) {
	name, err := codec.Stacked(inner, layer)
	if err != nil {
		return nil, err
	}
	if err := keys.check(); err != nil {
		return nil, err
	}
	c := &values{name: name, inner: inner, keys: make(map[string]*key, len(keys.Keys))}
	for id, secret := range keys.Keys {
		if c.keys[id], err = newKey(id, secret, name); err != nil {
			return nil, fmt.Errorf("codec/encrypt: the key %q: %w", id, err)
		}
	}
	c.current = c.keys[keys.Current]
	return c, nil
}

// key is one that values are encrypted or decrypted with.
type key struct {
	head  []byte // what such values begin with
	bound []byte // head and the name of the codec: what is authenticated besides
	aead  cipher.AEAD
}

func newKey(id string, secret []byte, name string) (*key, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	head := append([]byte{version, byte(len(id))}, id...)
	return &key{head: head, bound: append(head[:len(head):len(head)], name...), aead: aead}, nil
}

type values struct {
	name    string
	inner   codec.Codec
	current *key
	keys    map[string]*key
}

// Name returns the name of the wrapped codec and the layer's.
func (c *values) Name() string { return c.name }

// Append implements [codec.Codec].
func (c *values) Append(dst []byte, v any) ([]byte, error) {
	out := append(dst, c.current.head...)
	at := len(out)
	out, err := c.inner.Append(out, v)
	if err != nil {
		return dst, err
	}
	return c.current.aead.Seal(out[:at], nil, out[at:], c.current.bound), nil
}

// Decode implements [codec.Codec].
func (c *values) Decode(data []byte, into any) error {
	if len(data) < 2 || data[0] != version || len(data) < 2+int(data[1])+overhead {
		return fmt.Errorf("codec/encrypt: these are not bytes of %s: %w", c.name, ErrNotAuthentic)
	}
	id, sealed := data[2:2+int(data[1])], data[2+int(data[1]):]
	k := c.keys[string(id)]
	if k == nil {
		return fmt.Errorf("codec/encrypt: the key %q: %w", id, ErrUnknownKey)
	}
	plain, err := k.aead.Open(nil, nil, sealed, k.bound)
	if err != nil {
		return fmt.Errorf("codec/encrypt: the key %q: %w", id, ErrNotAuthentic)
	}
	return c.inner.Decode(plain, into)
}
