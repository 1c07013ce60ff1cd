package region

import (
	"reflect"
	"testing"
	"time"
)

func TestWhatIsFlat(t *testing.T) {
	type flat struct {
		ID   int64
		Name string
		At   time.Time
		Sum  [32]byte
	}
	for _, v := range []any{0, uint8(1), 1.5, "text", true, time.Now(), time.Second, flat{}, [3]flat{}} {
		if typ := reflect.TypeOf(v); !isFlat(typ) {
			t.Errorf("%v is not flat, but nothing in it can be changed through a copy", typ)
		}
	}
	for _, v := range []any{
		[]byte{}, []string{}, map[string]int{}, &flat{}, new(int), struct{ Err error }{}, struct{ Tags []string }{},
		[2][]int{}, struct{ In struct{ P *int } }{}, func() {}, make(chan int), uintptr(0),
	} {
		if typ := reflect.TypeOf(v); isFlat(typ) {
			t.Errorf("%v is flat, but what it leads to could be changed through a copy", typ)
		}
	}
}
