package argkey_test

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/dogpile-go/dogpile/internal/argkey"
)

type conn struct{ mu chan int }

type query struct {
	Name string
	db   *conn
}

type requestContext struct{ context.Context }

type request struct{ ctx context.Context }

type customContext struct{ err error }

func (*customContext) Deadline() (d time.Time, ok bool) { return }
func (*customContext) Done() <-chan struct{}            { return nil }
func (*customContext) Err() error                       { return nil }
func (*customContext) Value(any) any                    { return nil }

type recursive struct {
	Left, Right *recursive
	Children    map[string][]recursive
	hook        func()
}

type holder struct{ Any any }

func TestRefused(t *testing.T) {
	const advice = " cannot be part of a key; use region.WithKey"
	tests := []struct {
		arg  any
		want string
	}{
		{make(chan int), "a channel"},
		{(chan int)(nil), "a channel"},
		{func() {}, "a function"},
		{(func())(nil), "a function"},
		{unsafe.Pointer(nil), "an unsafe.Pointer"},
		{context.Background(), "a value of type context.backgroundCtx, which is a context.Context,"},
		{&customContext{err: nil}, "a value of type *argkey_test.customContext, which is a context.Context,"},
		{customContext{}, "a value of type argkey_test.customContext, which is a context.Context,"},
		{&sync.Mutex{}, "a value of type sync.Mutex"},
		{time.UTC, "a time.Location"},
		{query{Name: "q"}, "field query.db.mu: a channel"},
		{&query{db: &conn{mu: nil}}, "field query.db.mu: a channel"},
		{requestContext{}, "a value of type argkey_test.requestContext, which is a context.Context,"},
		{request{ctx: nil}, "field request.ctx: a context.Context"},
		{recursive{hook: nil}, "field recursive.hook: a function"},
		{[0]func(){}, "element [0]func()[]: a function"},
		{slog.StringValue("ab"), "element Value._[]: a function"},
		{[]chan int{}, "element []chan int[]: a channel"},
		{map[chan int]int{}, "element map[chan int]int[key]: a channel"},
		{map[string][]query{}, "field map[string][]argkey_test.query[][].db.mu: a channel"},
		{[1]struct{ F func() }{}, "field [1]struct { F func() }[].F: a function"},
		{pair[*atomic.Int64, int]{}, "field pair[*sync/atomic.Int64,int].First: a value of type atomic.Int64"},

		{holder{make(chan int)}, "field holder.Any.(chan int): a channel"},
		{holder{query{}}, "field holder.Any.(argkey_test.query).db.mu: a channel"},
		{&holder{&holder{time.Local}}, "field holder.Any.(*argkey_test.holder).Any.(*time.Location): a time.Location"},
		{[]any{1, []any{context.TODO()}}, "field []interface {}[1].([]interface {})[0].(context.todoCtx): a value of type context.todoCtx, which is a context.Context,"},
		{map[string]any{"k": func() {}}, `field map[string]interface {}["k"].(func()): a function`},
		{map[any]int{make(chan int): 1}, "field map[interface {}]int[key].(chan int): a channel"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			got, err := argkey.Append([]byte("f"), tt.arg)
			if string(got) != "f" {
				t.Errorf("on an error Append returned %q", got)
			}
			if !errors.Is(err, argkey.ErrUnsupported) || err.Error() != tt.want+advice {
				t.Errorf("\n got %v\nwant %v", err, tt.want+advice)
			}
			// What is known of a type must not keep the path that led to it.
			if _, again := argkey.Append(nil, tt.arg); again == nil || again.Error() != err.Error() {
				t.Errorf("the second time: %v", again)
			}
		})
	}
}

func TestForRefusesTypes(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{forError[chan int](), "a channel cannot"},
		{forError[func()](), "a function cannot"},
		{forError[unsafe.Pointer](), "an unsafe.Pointer cannot"},
		{forError[context.Context](), "a context.Context cannot"},
		{forError[interface {
			context.Context
			More()
		}](), "a value of type interface { Deadline()"},
		{forError[*query](), "field query.db.mu: a channel cannot"},
		{forError[map[string]recursive](), "field map[string]argkey_test.recursive[].hook: a function cannot"},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, argkey.ErrUnsupported) || !strings.HasPrefix(tt.err.Error(), tt.want) {
			t.Errorf("got %v, want %s", tt.err, tt.want)
		}
	}
	for _, err := range []error{forError[any](), forError[error](), forError[node](), forError[date]()} {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
	}
}

func forError[P any]() error {
	_, err := argkey.For[P]()
	return err
}

func TestNestedTooDeep(t *testing.T) {
	var self any
	self = &self
	list := []any{nil}
	list[0] = list
	table := map[string]any{}
	table["self"] = table
	ring := &node{}
	ring.next = &node{next: ring}
	var loop link
	loop = &loop
	wide := make([]any, 1000)
	for i := range wide {
		wide[i] = wide
	}
	for _, arg := range []any{self, list, table, ring, *ring, loop, wide, chain(60)} {
		got, err := argkey.Append([]byte("f"), arg)
		if !errors.Is(err, argkey.ErrUnsupported) || string(got) != "f" {
			t.Errorf("Append(%T) = %.80q, %v", arg, got, err)
			continue
		}
		if s := err.Error(); len(s) > 300 || !strings.Contains(s, "100 levels") || !strings.Contains(s, "region.WithKey") {
			t.Errorf("Append(%T): %v", arg, err)
		}
	}
	if _, err := argkey.Append(nil, chain(40)); err != nil {
		t.Errorf("a list of 40: %v", err)
	}
}

func chain(length int) *node {
	var n *node
	for range length {
		n = &node{next: n}
	}
	return n
}

func TestTooLarge(t *testing.T) {
	const limit = 1 << 20
	big := strings.Repeat("x", limit)
	// 2^60 leaves, though only 60 nodes.
	type tree struct{ Left, Right any }
	var dense any
	for range 30 {
		dense = tree{dense, dense}
	}
	ints := map[int]int{}
	for i := range limit / 8 {
		ints[i] = i
	}
	prefix := []byte(strings.Repeat("p", limit))
	tooLarge := []any{
		big, big + big, word(big), word(big + big), []byte(big), []byte(big + big), []string{big}, [2]string{big[1:], big[1:]}, strings.Repeat("\xff", limit/4),
		word(strings.Repeat("\xff", limit/4)), []byte(strings.Repeat("\xff", limit/2)),
		[1 << 40]struct{}{}, make([]struct{}, 1<<40), make([]int, limit), dense, ints, map[int][]int{1: make([]int, limit)},
	}
	for _, arg := range tooLarge {
		got, err := argkey.Append(prefix, arg)
		if err != argkey.ErrTooLarge || len(got) != len(prefix) {
			t.Errorf("Append(%T) = %d bytes, %v; want ErrTooLarge", arg, len(got), err)
		}
	}
	encode, err := argkey.For[string]()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{big, big + big, big[1:], strings.Repeat("\xff", limit/4)} {
		if got, err := encode(prefix, s); err != argkey.ErrTooLarge || len(got) != len(prefix) {
			t.Errorf("For[string] = %d bytes, %v; want ErrTooLarge", len(got), err)
		}
	}

	fits := []any{big[2:], word(big[200:]), []byte(big[20:]), make([]int, limit/2-10), make([]struct{}, limit/3-10)}
	for _, arg := range fits {
		if _, err := argkey.Append(prefix, arg); err != nil {
			t.Errorf("Append(%T): %v", arg, err)
		}
	}
	if _, err := encode(prefix, big[2:]); err != nil {
		t.Errorf("For[string]: %v", err)
	}
}

func local1() any {
	type local struct{ A int }
	return local{1}
}

func local2() any {
	type local struct{ A int }
	return local{1}
}

// Types declared inside functions have one name between them.
func TestLocalTypes(t *testing.T) {
	if _, err := argkey.Append(nil, local1()); err != nil {
		t.Fatalf("the first type: %v", err)
	}
	for _, arg := range []any{local2(), []any{local2()}} {
		got, err := argkey.Append(nil, arg)
		if !errors.Is(err, argkey.ErrUnsupported) || !strings.Contains(err.Error(), "declare") {
			t.Errorf("the second type: %s, %v; want a refusal", got, err)
		}
	}
	// A static type is known anyway.
	type local struct{ A int }
	encode, err := argkey.For[[]local]()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := encode(nil, []local{{1}}); err != nil || string(got) != "[]"+pkg+"local{{A:1}}" {
		t.Errorf("For: %s, %v", got, err)
	}
	if got, err := argkey.Append(nil, []local{{1}}); err != nil {
		t.Errorf("a type of its own: %s, %v", got, err)
	}
}

// What is known of a type is shared by all callers.
func TestConcurrentUse(t *testing.T) {
	for length := 1000; length < 1010; length++ {
		array := reflect.Zero(reflect.ArrayOf(length, reflect.TypeFor[*filter]())).Interface()
		texts := make([]string, 8)
		var wg sync.WaitGroup
		for i := range texts {
			wg.Go(func() {
				dst, err := argkey.Append(nil, array)
				if err != nil {
					t.Error(err)
				}
				texts[i] = string(dst)
			})
		}
		wg.Wait()
		if slices.Sort(texts); texts[0] != texts[7] {
			t.Errorf("%s\n%s", texts[0], texts[7])
		}
	}
}
