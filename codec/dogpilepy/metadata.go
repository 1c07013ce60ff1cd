package dogpilepy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// ErrFormat is wrapped by the error of Parse for bytes that dogpile.cache has not stored.
var ErrFormat = errors.New("dogpilepy: not a value of dogpile.cache")

// ErrVersion is wrapped by the error of Parse for values of another version of
// dogpile.cache's format.
var ErrVersion = errors.New("dogpilepy: a value of another version of dogpile.cache")

// version is dogpile.cache's value_version since 1.1.
const version = 2

// maxMetadata bounds what stands before the payload. dogpile.cache writes 34 bytes.
const maxMetadata = 4 << 10

// maxBrackets bounds how deep metadata can be. Python stops at about a thousand levels.
const maxBrackets = 256

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300800

// Append implements [codec.Format]: it appends what Python writes for a value whose
// creator returned at that time. Python keeps times as floats, which have steps of 0.24
// microseconds these days; created is rounded to the nearest one. A time before 1970, or
// after the year 9999, becomes 1970, which dogpile.cache and Parse take for no value.
func (f *Interop) Append(dst []byte, created time.Time) []byte {
	dst = append(dst, `{"ct": `...)
	seconds := 0.0
	if s := created.Unix(); s >= 0 && s < maxSeconds {
		seconds = float64(s) + float64(created.Nanosecond())/1e9
	}
	dst = appendFloat(dst, seconds, 64)
	return append(dst, `, "v": 2}|`...)
}

// appendFloat appends what Python's repr makes of v: the shortest digits that are read as
// v again, and always a point or an exponent. bits is 32 for what was a float32.
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, "nan"...)
	case math.IsInf(v, 0):
		if v < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "inf"...)
	case v != 0 && (math.Abs(v) >= 1e16 || math.Abs(v) < 1e-4):
		return strconv.AppendFloat(dst, v, 'e', -1, bits)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, v, 'f', -1, bits)
	if bytes.IndexByte(dst[start:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}

// Parse implements [codec.Format]. It reads what dogpile.cache reads: the metadata may
// have any form of JSON and entries of other names. It returns an error that wraps
// [ErrVersion] for a version other than 2, and one that wraps [ErrFormat] for everything
// else that is not a value: metadata that is longer than 4 KiB or no JSON object, in which
// something stands twice, or whose time is missing, not after 1970, or after the year 9999.
// A value whose metadata Python itself has written is parsed without an allocation.
func (f *Interop) Parse(data []byte) (created time.Time, payload []byte, err error) {
	if created, payload, ok := parseOwn(data); ok {
		return created, payload, nil
	}
	return parseAny(data)
}

// What dogpile.cache's own metadata consists of, around the time.
const (
	head = `{"ct": `
	tail = `, "v": 2}|`
)

// parseOwn parses metadata exactly as dogpile.cache writes it, and says whether data has it.
func parseOwn(data []byte) (created time.Time, payload []byte, ok bool) {
	if len(data) < len(head) || string(data[:len(head)]) != head {
		return time.Time{}, nil, false
	}
	rest := data[len(head):]
	// 17 digits, a point, and zeroes that lead: 24 bytes hold all that repr writes.
	n, points := 0, 0
	for ; n < len(rest) && n <= 24; n++ {
		if c := rest[n]; c == '.' {
			points++
		} else if c < '0' || c > '9' {
			break
		}
	}
	if n < 3 || n > 24 || points != 1 || rest[0] == '.' || rest[n-1] == '.' || rest[0] == '0' && rest[1] != '.' {
		return time.Time{}, nil, false
	}
	if len(rest)-n < len(tail) || string(rest[n:n+len(tail)]) != tail {
		return time.Time{}, nil, false
	}
	seconds, err := strconv.ParseFloat(string(rest[:n]), 64)
	if err != nil {
		return time.Time{}, nil, false
	}
	created, ok = timeOf(seconds)
	return created, rest[n+len(tail):], ok
}

// timeOf returns the time of a ct. It is not ok for what cannot be one.
func timeOf(seconds float64) (created time.Time, ok bool) {
	if !(seconds > 0 && seconds < maxSeconds) {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	created = time.Unix(int64(whole), int64(math.Round(fraction*1e9)))
	return created, created.UnixMicro() > 0 || created.Nanosecond() > 0
}

// parseAny parses metadata in any form that dogpile.cache reads.
func parseAny(data []byte) (created time.Time, payload []byte, err error) {
	end := bytes.IndexByte(data[:min(len(data), maxMetadata+1)], '|')
	if end < 0 {
		if len(data) > 0 && data[0] == 0x80 {
			return time.Time{}, nil, fmt.Errorf("%w: it has no metadata and may be a pickle of a whole value, as memcached clients make them: give the Python region a serializer", ErrFormat)
		}
		return time.Time{}, nil, fmt.Errorf("%w: there is no | in its first %d bytes", ErrFormat, maxMetadata)
	}
	metadata, payload := data[:end], data[end+1:]
	if !utf8.Valid(metadata) {
		return time.Time{}, nil, fmt.Errorf("%w: its metadata is not UTF-8", ErrFormat)
	}
	if bytes.Count(metadata, []byte{'['})+bytes.Count(metadata, []byte{'{'}) > maxBrackets {
		return time.Time{}, nil, fmt.Errorf("%w: its metadata has more than %d brackets", ErrFormat, maxBrackets)
	}
	ct, v, err := entries(metadata)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("%w: its metadata: %w", ErrFormat, err)
	}
	switch n, err := number(v); {
	case err != nil:
		return time.Time{}, nil, fmt.Errorf("%w: the version in its metadata %w", ErrFormat, err)
	case n != version:
		return time.Time{}, nil, fmt.Errorf("%w: %v, want %d", ErrVersion, n, version)
	}
	seconds, err := number(ct)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("%w: the time in its metadata %w", ErrFormat, err)
	}
	created, ok := timeOf(seconds)
	if !ok {
		return time.Time{}, nil, fmt.Errorf("%w: it was created at %v, which is no time between 1970 and 9999", ErrFormat, seconds)
	}
	return created, payload, nil
}

// entries returns what stands for ct and v in the object that metadata is, and nil for what
// is missing.
func entries(metadata []byte) (ct, v json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader(metadata))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, nil, errors.New("is not a JSON object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, nil, err
		}
		into := &v
		switch name {
		case "ct":
			into = &ct
		case "v":
		default:
			continue
		}
		if *into != nil {
			return nil, nil, fmt.Errorf("has %q twice", name)
		}
		*into = value
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, err
	}
	// Spaces may follow, and nothing else.
	if rest := bytes.TrimLeft(metadata[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, nil, errors.New("has something behind the JSON object")
	}
	return ct, v, nil
}

// number returns the number that raw, which is valid JSON or nil, is.
func number(raw json.RawMessage) (float64, error) {
	if len(raw) == 0 {
		return 0, errors.New("is missing")
	}
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return 0, errors.New("is not a number")
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return 0, errors.New("is too large a number")
	}
	return n, nil
}
