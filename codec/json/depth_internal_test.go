package json

import (
	"math/big"
	"reflect"
	"testing"
	"time"
)

// Most types cannot be nested without bound, and their values are not walked.
func TestWhichTypesAreWalked(t *testing.T) {
	type point struct{ X, Y int }
	type flat struct {
		A, B  point
		C     []map[string]*point
		D     time.Time
		E     *big.Int
		Skip  any `json:"-"`
		inner any
	}
	type list struct{ Next *list }
	type even struct {
		Odd []struct{ Even map[string]even }
	}
	for typ, want := range map[reflect.Type]bool{
		reflect.TypeFor[int]():              false,
		reflect.TypeFor[flat]():             false,
		reflect.TypeFor[any]():              true,
		reflect.TypeFor[error]():            true,
		reflect.TypeFor[[]any]():            true,
		reflect.TypeFor[list]():             true,
		reflect.TypeFor[[][]*list]():        true,
		reflect.TypeFor[even]():             true,
		reflect.TypeFor[struct{ L list }](): true,
	} {
		if got := canNest(typ); got != want {
			t.Errorf("%v: %v, want %v", typ, got, want)
		}
	}
	_ = flat{}.inner
}
