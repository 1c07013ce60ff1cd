package redis

import (
	"fmt"
	"testing"
	"time"
)

// However many locks of other programs there are, only so many are kept in mind, and those
// that were seen last.
func TestHoldersAreBounded(t *testing.T) {
	var h holders
	h.refused("eternal", granted{holder: "first", left: -1})
	for i := range 2 * mostHolders {
		h.refused(fmt.Sprint(i), granted{holder: "token", left: -1})
		h.refused("eternal", granted{holder: "first", left: -1})
	}
	if n := len(h.byLock); n != mostHolders {
		t.Errorf("%d locks are known, want %d", n, mostHolders)
	}
	if token := h.dead("eternal", time.Nanosecond); token != "first" {
		t.Errorf("one that is asked for all the time has the token %q, want it known", token)
	}
	for i := range 2 * mostHolders {
		h.forget(fmt.Sprint(i))
	}
	if n := len(h.byLock); n != 1 {
		t.Errorf("%d locks are known when all but one were forgotten, want 1", n)
	}
	// Locks of our own are looked after by their fleet.
	h.refused("eternal", granted{holder: "ours", ours: true, left: 1000})
	if n := len(h.byLock); n != 0 {
		t.Errorf("%d locks are known when it is one of ours, want none", n)
	}
}
