package cbor

import (
	"fmt"
	"reflect"
	"time"
)

var timeType = reflect.TypeFor[time.Time]()

// timeIn returns the time.Time that v is, without a copy of it on the heap where
// that can be had.
func timeIn(v reflect.Value) time.Time {
	if v.CanAddr() {
		return *v.Addr().Interface().(*time.Time)
	}
	return v.Interface().(time.Time)
}

// checkTime refuses what RFC 3339 has no text for. Offsets with seconds, which
// clocks had before they kept standard time, would even be read as another
// instant.
func checkTime(v reflect.Value) error {
	t := timeIn(v)
	if t.IsZero() {
		return nil // written as null
	}
	if year := t.Year(); year < 0 || year > 9999 {
		return fmt.Errorf("a time.Time in the year %d cannot be stored", year)
	}
	const day = 24 * 60 * 60
	if _, offset := t.Zone(); offset%60 != 0 || offset <= -day || offset >= day {
		return fmt.Errorf("a time.Time %d seconds from UTC cannot be stored; use its UTC method", offset)
	}
	return nil
}
