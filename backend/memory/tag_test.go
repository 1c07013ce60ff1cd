package memory_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
)

// The stamps of a tag live as long as an entry that carries them, however many other
// tags come and go, and are forgotten after it.
func TestStampsOfTagsLiveAsLongAsEntries(t *testing.T) {
	for name, config := range map[string]memory.Config{"values": {}, "bytes": {Copy: true}} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			b := memory.New(config)
			defer b.Close()
			guards := []backend.Guard{{Region: "users"}, {Region: "users", Tag: "t"}}
			stamps, err := b.Stamps(ctx, guards)
			if err != nil {
				t.Fatal(err)
			}
			key := backend.Key{Region: "users", Name: "ann"}
			if _, err := b.Set(ctx, []backend.Item{{Key: key, Entry: &backend.Entry{Value: new(int), Data: []byte{}}}}, guards); err != nil {
				t.Fatal(err)
			}
			// others lets the cell grow old, and the garbage be collected.
			others := func() backend.Stamps {
				for i := range 20_000 {
					if _, err := b.Stamps(ctx, []backend.Guard{{Region: "users", Tag: fmt.Sprint("other ", i)}}); err != nil {
						t.Fatal(err)
					}
				}
				runtime.GC()
				runtime.GC()
				now, err := b.Stamps(ctx, guards[1:])
				if err != nil {
					t.Fatal(err)
				}
				return now[0]
			}
			for range 3 {
				if now := others(); now != stamps[1] {
					t.Fatal("the stamps were forgotten while an entry carries them")
				}
			}
			if err := b.Delete(ctx, []backend.Key{key}); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); others() == stamps[1]; {
				if time.Now().After(end) {
					t.Fatal("the stamps are there still, a minute after the entry")
				}
			}
		})
	}
}
