package fill_test

import (
	"math"
	"testing"

	"github.com/dogpile-go/dogpile/internal/fill"
)

// A name that differs in case is another one where the right one is there as well,
// whichever comes first.
func TestExactNamesWin(t *testing.T) {
	type record struct {
		ID int `json:"id"`
	}
	for name, pairs := range map[string][]any{
		"the right one first": {"id", int64(1), "ID", int64(2)},
		"the right one last":  {"ID", int64(2), "id", int64(1)},
		"not for it":          {"id", int64(1), "Id", "x"},
		"the right one only":  {"id", int64(1)},
		"another one only":    {"ID", int64(1)},
	} {
		var r record
		if err := fill.Into(&r, &fill.Dict{Pairs: pairs}, "json"); err != nil || r.ID != 1 {
			t.Errorf("%s: %+v, %v, want 1", name, r, err)
		}
	}
}

// A number that would be an infinity does not fit.
func TestFloatsThatDoNotFit(t *testing.T) {
	for _, x := range []any{1e300, -1e300, 3.5e38} {
		var f float32
		if err := fill.Into(&f, x, "json"); err == nil {
			t.Errorf("%v became %v", x, f)
		}
	}
	var f float32
	if err := fill.Into(&f, math.Inf(1), "json"); err != nil || !math.IsInf(float64(f), 1) {
		t.Errorf("an infinity became %v, %v", f, err)
	}
}
