package argkey_test

import (
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/argkey"
)

func TestForDoesWhatAppendDoes(t *testing.T) {
	agree(t, 1, -1)
	agree(t, int8(1), -128)
	agree(t, int16(1), -1)
	agree(t, int32(1), -1)
	agree(t, int64(1), -1<<63)
	agree(t, uint(1))
	agree(t, uint8(255))
	agree(t, uint16(1))
	agree(t, uint32(1))
	agree(t, uint64(1<<64-1))
	agree(t, uintptr(1))
	agree(t, true, false)
	agree(t, "", "a b", "\xff\"")
	agree(t, 1.5)
	agree(t, color(1))
	agree(t, word("a"))
	agree(t, time.Second)
	agree(t, time.Now())
	agree(t, filter{"Rome", 3})
	agree(t, &filter{"Rome", 3}, nil)
	agree(t, []any{1, "a"}, nil)
	agree(t, map[string]any{"a": 1}, nil)
	agree(t, uuid{1})
	agree[any](t, 1, "a", nil, filter{}, []int(nil))
	agree[named](t, nil)
	agree[error](t, nil)
}

func agree[P any](t *testing.T, values ...P) {
	t.Helper()
	encode, err := argkey.For[P]()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		dst, err := encode([]byte("("), v)
		if got, want := string(dst)+")", text(t, v); err != nil || got != want {
			t.Errorf("For[%T]: %s, %v; Append: %s", v, got, err, want)
		}
	}
}

func TestForDoesNotAllocate(t *testing.T) {
	allocatesNothing(t, 42)
	allocatesNothing(t, int8(42))
	allocatesNothing(t, int64(1)<<62)
	allocatesNothing(t, uint64(1)<<63)
	allocatesNothing(t, true)
	allocatesNothing(t, "user 42")
}

func allocatesNothing[P any](t *testing.T, p P) {
	t.Helper()
	encode, err := argkey.For[P]()
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 64)
	allocs := testing.AllocsPerRun(100, func() {
		local := p // would be moved to the heap if encode let it escape
		if _, err := encode(dst, local); err != nil {
			t.Error(err)
		}
	})
	if allocs != 0 {
		t.Errorf("For[%T]: %v allocations", p, allocs)
	}
}

func benchmark[P any](b *testing.B, p P) {
	encode, err := argkey.For[P]()
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode(dst, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInt64(b *testing.B)  { benchmark(b, int64(1234567)) }
func BenchmarkString(b *testing.B) { benchmark(b, "customer-1234567") }
func BenchmarkNamed(b *testing.B)  { benchmark(b, color(1234567)) }
func BenchmarkStruct(b *testing.B) { benchmark(b, filter{"Rome", 3}) }
func BenchmarkTime(b *testing.B)   { benchmark(b, time.Now()) }
func BenchmarkSlice(b *testing.B)  { benchmark(b, []int{1, 2, 3, 4, 5, 6, 7, 8}) }
func BenchmarkMap(b *testing.B)    { benchmark(b, map[string]int{"a": 1, "b": 2, "c": 3}) }
func BenchmarkAny(b *testing.B)    { benchmark[any](b, int64(1234567)) }
