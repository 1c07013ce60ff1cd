package fill_test

import (
	"reflect"
	"testing"

	"github.com/dogpile-go/dogpile/internal/fill"
)

type (
	deep  struct{ A, B, C, F int }
	left  struct{ L, Both, Tagged int }
	Right struct {
		R, Both int
		Other   int `json:"Tagged"`
		*Right      // itself
	}
	hidden struct{ x int }
	Outer  struct {
		deep
		left
		Right
		*hidden
		B     string
		C     int `json:"-"`
		D     int `json:"d,omitempty"`
		E     int `json:",omitempty"`
		Given int `m:"m" json:"json"`
		Same  int `json:"same"`
		SAME  int
		F     func()
		named `json:"named"`
		_     int
		g     int
	}
	named struct{ Inside int }
)

// The fields are those of encoding/json, but for options, and what it cannot store.
func TestRecordOf(t *testing.T) {
	r := fill.RecordOf(reflect.TypeFor[Outer](), "m")
	want := map[string][]int{
		"A": {0, 0}, "C": {0, 2}, "L": {1, 0}, "R": {2, 0}, "Tagged": {2, 2}, "B": {4}, "d": {6}, "E": {7}, "m": {8}, "same": {9}, "SAME": {10}, "F": {11},
	}
	got := map[string][]int{}
	for _, f := range r.Fields {
		got[f.Name] = f.Index
		if f.Type != reflect.TypeFor[Outer]().FieldByIndex(f.Index).Type {
			t.Errorf("%s is a %v", f.Name, f.Type)
		}
		if found, ok := r.Find(f.Name); !ok || !reflect.DeepEqual(found, f) {
			t.Errorf("by the name %s %v is found", f.Name, found)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the fields are %v, want %v", got, want)
	}
	if !r.Hidden {
		t.Error("fields that are not exported are not noticed")
	}
	for name, want := range map[string]string{"saMe": "same", "D": "d", "a": "A", "tagged": "Tagged", "both": "", "json": "", "": ""} {
		if f, ok := r.Find(name); f.Name != want || ok != (want != "") {
			t.Errorf("by the name %q %q is found, %v, want %q", name, f.Name, ok, want)
		}
	}
	if again := fill.RecordOf(reflect.TypeFor[Outer](), "m"); again != r {
		t.Error("a record is made twice")
	}
	if other := fill.RecordOf(reflect.TypeFor[Outer](), "x"); other == r {
		t.Error("two tags have one record")
	}
	_ = Outer{}.g
	_, _ = hidden{}.x, Outer{}.hidden
}
