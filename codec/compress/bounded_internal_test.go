package compress

import (
	"errors"
	"testing"
)

// A frame may be as long as what it is made of, which has a byte more in front.
func TestBounded(t *testing.T) {
	b := scratch(10)
	defer b.free()
	if n, err := b.Write(make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("the 10 bytes that there may be: %d, %v", n, err)
	}
	if n, err := b.Write(make([]byte, 1)); n != 0 || !errors.Is(err, errNotSmaller) || len(b.buf) != 10 {
		t.Errorf("one more: %d, %v, want errNotSmaller", n, err)
	}
}
