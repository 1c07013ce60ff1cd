package pythontest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Py is a value for Python as a Python expression, for what JSON has no words for:
// Py("(1, b'x')"), Py("float('nan')"), Py("2**70"), and Py("2.0"), because Go writes a
// float of 2 as an int. datetime and decimal are there.
type Py string

// MarshalJSON writes it as the worker expects it.
func (p Py) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]string{"$py": string(p)}) }

// Bytes returns b as a value of Python's type bytes.
func Bytes(b []byte) Py {
	var s strings.Builder
	s.WriteString("b'")
	for _, c := range b {
		_, _ = fmt.Fprintf(&s, `\x%02x`, c)
	}
	return Py(s.String() + "'")
}

// Value is what Python has in hand.
type Value struct {
	// Missing says that it is NO_VALUE.
	Missing bool `json:"missing"`
	// Repr is Python's repr of it.
	Repr string `json:"repr"`
	// Type is the name of its type.
	Type string `json:"type"`
	// JSON is what Python's json.dumps makes of it, or "" if that cannot.
	JSON string `json:"json"`
	// Bytes are those of a value of type bytes.
	Bytes []byte `json:"bytes"`
}

// String returns Repr.
func (v Value) String() string { return v.Repr }

// Decode fills target, a pointer, with the value, by way of JSON.
func (v Value) Decode(t testing.TB, target any) {
	t.Helper()
	if err := json.Unmarshal([]byte(v.JSON), target); err != nil {
		t.Fatalf("Python's %s (%s) as %T: %v", v.Repr, v.Type, target, err)
	}
}
