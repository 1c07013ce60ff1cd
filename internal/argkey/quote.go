package argkey

import (
	"encoding/hex"
	"strconv"
)

// appendQuoted appends s as a Go string literal. Unquoting it gives back s, byte
// for byte, also if s is not valid UTF-8.
func appendQuoted(dst []byte, s string) []byte {
	if !plain(s) {
		return strconv.AppendQuote(dst, s)
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// appendBytes appends b like a string if it reads like one, and in hex if not,
// as in a hash or a UUID.
func appendBytes(dst []byte, b []byte) []byte {
	if plain(b) {
		dst = append(dst, '"')
		dst = append(dst, b...)
		return append(dst, '"')
	}
	return hex.AppendEncode(append(dst, "0x"...), b)
}

// plain reports whether s stands for itself between quotes.
func plain[S string | []byte](s S) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
