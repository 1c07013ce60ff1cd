package argkey

import (
	"reflect"
	"strconv"
	"time"
)

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	locationType = reflect.TypeFor[time.Location]()
)

// definedOn reports whether the struct type t is base or was defined on it, as
// in "type Date time.Time".
func definedOn(t, base reflect.Type) bool {
	return t == base || t.Kind() == reflect.Struct && t.ConvertibleTo(base)
}

// appendTime appends the instant, offset and location of t in the notation of
// RFC 9557, which is RFC 3339 with the location in brackets. The location is
// left out for UTC.
func appendTime(dst []byte, t time.Time) []byte {
	_, offset := t.Zone()
	switch {
	case !fourDigitYear(t) || offset <= -24*3600 || offset >= 24*3600:
		// The calendar of package time wraps around far from now.
		dst = strconv.AppendInt(append(dst, '@'), t.Unix(), 10)
		dst = strconv.AppendInt(append(dst, '.'), int64(t.Nanosecond()), 10)
		dst = strconv.AppendInt(append(dst, "s offset "...), int64(offset), 10)
	case offset%60 != 0:
		// Local mean time: RFC 3339 has no seconds in an offset and would round.
		dst = t.AppendFormat(dst, "2006-01-02T15:04:05.999999999Z07:00:00")
	default:
		dst = t.AppendFormat(dst, time.RFC3339Nano)
	}
	location := t.Location().String()
	if location == "UTC" && offset == 0 {
		return dst
	}
	dst = append(dst, '[')
	if locationName(location) {
		dst = append(dst, location...)
	} else {
		dst = strconv.AppendQuote(dst, location)
	}
	return append(dst, ']')
}

// fourDigitYear reports whether the year of t has four digits, or would have
// them in another time zone. It asks for seconds since the year reported for an
// instant that is out of range can be any.
func fourDigitYear(t time.Time) bool {
	const (
		year1     = -62135596800 // 0001-01-01 UTC
		year10000 = 253402300800 // 10000-01-01 UTC
	)
	return year1 <= t.Unix() && t.Unix() < year10000
}

// locationName reports whether s has the form of a name in the time zone
// database. time.FixedZone takes any text.
func locationName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '/', c == '_', c == '+', c == '-':
		default:
			return false
		}
	}
	return s != ""
}
