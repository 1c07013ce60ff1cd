package region

import (
	"fmt"
	"testing"
)

func TestWarmth(t *testing.T) {
	w := newWarmth()
	if w.isWarm("k") {
		t.Error("a key is warm that nobody has looked at")
	}
	w.note("k", false)
	if w.isWarm("k") {
		t.Error("a key is warm that was not found")
	}
	w.note("k", true)
	w.note("k", true)
	if !w.isWarm("k") {
		t.Error("a key is cold that was found")
	}
	wrong := 0
	for i := range 1000 {
		if w.isWarm(fmt.Sprint("other ", i)) {
			wrong++
		}
	}
	if wrong > 10 {
		t.Errorf("%d of 1000 keys are taken for another one", wrong)
	}
	w.note("k", false)
	if w.isWarm("k") {
		t.Error("a key is warm that was found once and then not")
	}
}
