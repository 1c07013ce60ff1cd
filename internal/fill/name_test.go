package fill_test

import (
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
