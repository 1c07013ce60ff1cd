package flight_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/internal/flight"
)

// A look is for those who came before it was taken, and the next is for those who
// came while it was.
func TestALookIsSharedWithThoseWhoCameBeforeIt(t *testing.T) {
	synctest.Test(t, aLookIsShared)
}

func aLookIsShared(t *testing.T) {
	var looks flight.Looks[string]
	first, leads := looks.Enter("k")
	if !leads || !first.Turn(t.Context()) {
		t.Fatal("the first caller does not lead, or has to wait for its turn")
	}
	second, leads := looks.Enter("k")
	if !leads || second == first {
		t.Fatal("who comes during a look does not lead the next one")
	}
	third, leads := looks.Enter("k")
	if leads || third != second {
		t.Fatal("the next one who comes during a look does not gather with the other")
	}
	if other, leads := looks.Enter("another"); !leads || !other.Turn(t.Context()) {
		t.Error("who looks at another key has to wait")
	}
	turn := make(chan bool, 1)
	go func() { turn <- second.Turn(context.Background()) }()
	synctest.Wait()
	if len(turn) > 0 {
		t.Error("the second look begins while the first is under way")
	}
	first.Finish("what the first saw", true)
	if !<-turn {
		t.Error("the second look has no turn after the first")
	}
	second.Finish("what the second saw", true)
	if shown, good := third.Wait(t.Context()); shown != "what the second saw" || !good {
		t.Errorf("the third caller sees %q, %v", shown, good)
	}
	if _, leads := looks.Enter("k"); !leads {
		t.Error("a look that is over is still there")
	}
}

func TestALookMayBeGoodForNobodyElse(t *testing.T) {
	var looks flight.Looks[string]
	first, _ := looks.Enter("k")
	second, _ := looks.Enter("k")
	third, _ := looks.Enter("k")
	first.Finish("", false)
	second.Finish("what is not for others", false)
	if _, good := third.Wait(t.Context()); good {
		t.Error("the third caller was given what is not for others")
	}
}

// A leader whose context ends before its turn leaves, and those who gathered with it
// start over.
func TestALeaderMayLeaveBeforeItsTurn(t *testing.T) {
	var looks flight.Looks[string]
	first, _ := looks.Enter("k")
	second, _ := looks.Enter("k")
	third, _ := looks.Enter("k")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if second.Turn(ctx) {
		t.Fatal("it has its turn while another look is under way")
	}
	second.Finish("", false)
	if _, good := third.Wait(t.Context()); good {
		t.Error("who gathered with it got a look that was not taken")
	}
	fourth, leads := looks.Enter("k")
	if !leads {
		t.Error("nobody leads the next look")
	}
	first.Finish("", true)
	if !fourth.Turn(t.Context()) {
		t.Error("the next look has no turn")
	}
	if _, good := fourth.Wait(ctx); good {
		t.Error("who waits with a context that has ended got something")
	}
	fourth.Finish("", true)
}

// Whoever looks sees nothing older than what there was when it came.
func TestLooksUnderTraffic(t *testing.T) {
	var looks flight.Looks[int64]
	var current, taken atomic.Int64
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for range 2000 {
				key := fmt.Sprint(i % 2)
				came := current.Add(1)
				l, leads := looks.Enter(key)
				saw, good := int64(0), true
				if leads {
					l.Turn(t.Context())
					taken.Add(1)
					saw = current.Load()
					l.Finish(saw, true)
				} else {
					saw, good = l.Wait(t.Context())
				}
				if !good || saw < came {
					t.Errorf("came at %d, saw %d, %v", came, saw, good)
				}
			}
		})
	}
	callers.Wait()
	t.Logf("%d looks for %d callers", taken.Load(), 8*2000)
}
