// Package mangle has key manglers: functions that turn the keys of a region into those
// under which a backend stores its values, such as shorter ones.
//
//	users, err := region.New("users", region.Config{
//		Backend:    b,
//		Expiration: 5 * time.Minute,
//		KeyMangler: mangle.SHA256Over(200),
//	})
//
// The backends of this module take any key, so nobody needs one for their sake. A mangler
// keeps long keys from filling the memory of a server, or makes keys that another program
// expects. All functions here are safe for concurrent use.
//
// Every process that uses a region over a shared backend needs the same mangler: under
// different ones they neither see each other's values nor what the others delete. Whoever
// goes back to a mangler that was in use before should invalidate the region.
package mangle

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// Func turns a key into the one that is used instead. It always returns the same for the
// same key, is safe for concurrent use, and should make no two keys one: they would take
// each other's place in the backend, though a region never confuses their values.
type Func func(key string) string

// Prefix puts text in front of keys. What belongs to another service or to staging is
// better kept apart by the Prefix of package backend/proxy, which moves stamps and leases
// as well.
func Prefix(text string) Func {
	return func(key string) string { return text + key }
}

// digestMark stands in front of a SHA-256, so that a key that looks like one is known.
const digestMark = "sha256-"

// SHA256Over leaves keys of up to length bytes as they are, and makes "sha256-" and the
// SHA-256 in hex, 71 bytes, of longer ones. With a negative length it does so with all
// keys.
//
// It makes no two keys one, as far as SHA-256 does not: a short key that looks like a
// digest is replaced by its own.
func SHA256Over(length int) Func {
	return func(key string) string {
		if len(key) <= length && !isDigest(key) {
			return key
		}
		sum := sha256.Sum256([]byte(key))
		return digestMark + hex.EncodeToString(sum[:])
	}
}

// isDigest reports whether SHA256Over could have made key of a longer one.
func isDigest(key string) bool {
	digits, marked := strings.CutPrefix(key, digestMark)
	return marked && len(digits) == 2*sha256.Size && strings.Trim(digits, "0123456789abcdef") == ""
}

// SHA1 is the sha1_mangle_key of dogpile.cache: the SHA-1, in hex, of the key's bytes,
// which are its UTF-8.
//
// It is there for keys that are shared with Python. Whoever can choose keys can find two
// of one SHA-1, and have them take each other's place; without such peers use
// [SHA256Over].
func SHA1(key string) string {
	sum := sha1.Sum([]byte(key))
	return hex.EncodeToString(sum[:])
}

// SHA1From is length_conditional_mangler(length, sha1_mangle_key) of dogpile.cache: it
// makes the [SHA1] of keys of length characters and more, and leaves shorter ones as they
// are. As there, characters are counted and not bytes, and a short key of 40 hex digits
// can be the same as the digest of a long one.
func SHA1From(length int) Func {
	return func(key string) string {
		// There are no more characters than bytes.
		if len(key) < length || utf8.RuneCountInString(key) < length {
			return key
		}
		return SHA1(key)
	}
}

// Chain applies manglers, the first one first. One that is nil changes nothing.
func Chain(manglers ...Func) Func {
	return func(key string) string {
		for _, mangle := range manglers {
			if mangle != nil {
				key = mangle(key)
			}
		}
		return key
	}
}
