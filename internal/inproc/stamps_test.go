package inproc_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/inproc"
)

// collected waits until the garbage collector has made a condition true.
func collected(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(end) {
			t.Fatalf("after a minute of collections %s", what)
		}
		runtime.GC()
		runtime.Gosched()
	}
}

// Cells of tags are there for as long as somebody holds them, and no longer.
func TestTagsDoNotPileUp(t *testing.T) {
	c := inproc.New()
	defer c.Close()
	tag := func(i int) backend.Guard { return backend.Guard{Region: "users", Tag: fmt.Sprint("tag ", i)} }
	const all = 5 * inproc.MostYoung
	held := make([]*backend.LiveStamps, 0, all)
	for i := range all {
		held = append(held, c.Live(tag(i)))
	}
	before := make([]backend.Stamps, all)
	for i, cell := range held {
		before[i] = cell.Load()
	}
	runtime.GC()
	runtime.GC()
	for i := range all {
		if c.Live(tag(i)) != held[i] || held[i].Load() != before[i] {
			t.Fatalf("the cell of tag %d is another one, though it is held", i)
		}
	}
	if n := inproc.Tags(c); n != all {
		t.Errorf("%d tags are known, want %d", n, all)
	}
	held = held[:10]
	clear(held[10:cap(held)])
	more := 0
	collected(t, fmt.Sprintf("more than %d tags are known", 3*inproc.MostYoung), func() bool {
		for range inproc.MostYoung / 2 { // so that the table is swept
			c.Live(backend.Guard{Region: "posts", Tag: fmt.Sprint(more)})
			more++
		}
		return inproc.Tags(c) <= 3*inproc.MostYoung
	})
	for i := range 10 {
		if c.Live(tag(i)) != held[i] {
			t.Errorf("the cell of tag %d is another one, though it is held", i)
		}
	}
	for i := 10; i < all-inproc.MostYoung; i += 1000 {
		if c.Live(tag(i)).Load() == before[i] {
			t.Errorf("tag %d has the stamps back that it had before it was forgotten", i)
		}
	}
	runtime.KeepAlive(held)
}

// Cells that are made lately stay for those who have only copies of their stamps.
func TestYoungTagsStay(t *testing.T) {
	c := inproc.New()
	defer c.Close()
	guard := backend.Guard{Region: "users", Tag: "t"}
	before := c.Stamps([]backend.Guard{guard})[0]
	for range 5 {
		runtime.GC()
	}
	if now := c.Stamps([]backend.Guard{guard})[0]; now != before {
		t.Error("the stamps were forgotten at once")
	}
	c.Renew([]backend.Guard{guard}, true)
	if now := c.Stamps([]backend.Guard{guard})[0]; now.Hard != before.Hard || now.Soft == before.Soft {
		t.Error("a soft renewal has to replace the soft stamp alone")
	}
}

// Whoever holds a cell sees every renewal, while others come and go.
func TestCellsAreTheSameForEveryone(t *testing.T) {
	c := inproc.New()
	defer c.Close()
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	var users sync.WaitGroup
	for g := range 4 {
		users.Go(func() {
			for i := range 3000 {
				guard := backend.Guard{Region: "users", Tag: fmt.Sprint((i + g) % 7)}
				cell := c.Live(guard)
				before := cell.Load()
				c.Renew([]backend.Guard{guard}, false)
				if cell.Are(before) {
					t.Error("a renewal did not reach the cell that is held")
					return
				}
			}
		})
	}
	users.Wait()
	close(stop)
	busy.Wait()
}
