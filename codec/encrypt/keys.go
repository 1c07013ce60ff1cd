package encrypt

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// keySize is that of AES-256.
const keySize = 32

// longestID is less than the 43 characters of a key in base64, so that a key in the
// place of an id is found out.
const longestID = 32

// Keys are the keys of a codec. They are printed and marshaled without the keys
// themselves, by fmt and by whatever asks for text, such as encoding/json and
// log/slog.
type Keys struct {
	// Current is the id of the key with which values are encrypted.
	Current string

	// Keys are all keys with which values are decrypted, by their ids, Current
	// among them. A key has 32 random bytes; "openssl rand -base64 32" makes one.
	// It must not be a password, nor made of one without a function that is meant
	// for that. An id has up to 32 letters, digits, "-", "_" and ".", such as
	// "2026-11", and is stored with each value, readable by everybody. It must
	// never get another key.
	Keys map[string][]byte
}

// check says what is wrong with the keys, everything at once.
func (k Keys) check() error {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf("codec/encrypt: "+format, args...)) }
	ids := slices.Sorted(maps.Keys(k.Keys))
	for i, id := range ids {
		secret := k.Keys[id]
		switch err := checkKey(secret); {
		case !validID(id):
			bad("an id has something else than up to %d letters, digits, \"-\", \"_\" and \".\"", longestID)
			continue // it may be a key: it is not shown
		case err != nil:
			bad("the key %q %w", id, err)
			continue
		}
		for _, other := range ids[:i] {
			if subtle.ConstantTimeCompare(secret, k.Keys[other]) == 1 {
				bad("%q and %q are the same key", other, id)
			}
		}
	}
	switch _, there := k.Keys[k.Current]; {
	case len(k.Keys) == 0:
		bad("there are no keys")
	case k.Current == "":
		bad("Keys.Current is not set: it is the id of the key with which values are encrypted")
	case !there && validID(k.Current):
		bad("there is no key %q, which is to be the current one", k.Current)
	case !there:
		bad("Keys.Current is not the id of one of the keys")
	}
	return errors.Join(wrong...)
}

// checkKey returns an error that goes on after "the key … ".
func checkKey(secret []byte) error {
	if len(secret) != keySize {
		return fmt.Errorf("has %d bytes: AES-256 needs %d, which \"openssl rand -base64 32\" makes", len(secret), keySize)
	}
	if bytes.Count(secret, secret[:1]) == keySize {
		return errors.New("is one byte repeated: it was never set")
	}
	return nil
}

func validID(id string) bool {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}
	return id != "" && len(id) <= longestID && !strings.ContainsFunc(id, odd)
}

// String tells the ids, the current one first, and no key.
func (k Keys) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d keys, current %q", len(k.Keys), show(k.Current))
	for _, id := range slices.Sorted(maps.Keys(k.Keys)) {
		if id != k.Current {
			fmt.Fprintf(&s, ", %q", show(id))
		}
	}
	return s.String()
}

// show returns id unless it may be a key.
func show(id string) string {
	if id != "" && !validID(id) {
		return "?"
	}
	return id
}

// Format implements [fmt.Formatter]: every verb prints what String returns.
func (k Keys) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprint(s, k.String()) // s has nobody else to tell of an error
}

// MarshalText implements [encoding.TextMarshaler]: it returns what String does.
func (k Keys) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
