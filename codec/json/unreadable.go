package json

import (
	"bytes"
	"encoding/json"
)

// unreadable says why data, which encoding/json has written, is not read back as
// what it was written from. It is empty if it is.
func unreadable(data []byte) string {
	if replaced(data) {
		return "it holds a string that is not UTF-8; use codec/cbor"
	}
	// The walk has not seen what json.Marshalers wrote. Few values open so many
	// brackets, and counting them costs next to nothing.
	if bytes.Count(data, []byte{'['})+bytes.Count(data, []byte{'{'}) > maxLevels && !json.Valid(data) {
		return "it is nested too deep to be read again; use a flatter type"
	}
	return ""
}

// replaced reports whether encoding/json has put the escape \ufffd in the place of
// a byte. The character U+FFFD itself it writes as such. An escape by the hand of
// a json.Marshaler looks the same and is refused with the others.
func replaced(data []byte) bool {
	escape := []byte(`\ufffd`)
	for {
		at := bytes.Index(data, escape)
		if at < 0 {
			return false
		}
		// Behind another backslash it is the text "\ufffd".
		before := data[:at]
		if (at-len(bytes.TrimRight(before, `\`)))%2 == 0 {
			return true
		}
		data = data[at+len(escape):]
	}
}
