package dogpilepy_test

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/codec/dogpilepy"
	"github.com/dogpile-go/dogpile/internal/pythontest"
)

// argument is an argument of a function: in Go, and as an expression of Python.
type argument struct {
	v    any
	expr string
}

// arguments are all kinds, and n of random content.
func arguments(n int) []argument {
	five, text := 5, "text"
	all := []argument{
		{nil, "None"}, {(*int)(nil), "None"}, {true, "True"}, {false, "False"}, {0, "0"}, {-5, "-5"}, {int8(-128), "-128"}, {uint64(math.MaxUint64), "2**64-1"},
		{int64(math.MinInt64), "-2**63"}, {big.NewInt(0).Lsh(big.NewInt(1), 100), "2**100"}, {&five, "5"}, {time.Second, "10**9"}, {uintptr(7), "7"},
		{"", "''"}, {"a b|c", "'a b|c'"}, {"dr\u00f4le \U0001f600\x00", "'dr\\u00f4le \\U0001f600\\0'"}, {name("n"), "'n'"}, {&text, "'text'"},
		{[]byte("a'b"), `b"a'b"`}, {[]byte(`a'"b`), `b"a'\"b"`}, {[]byte(`"`), `b'"'`}, {[]byte(nil), "b''"}, {[]byte("\\"), `b"\\"`},
		{math.Inf(1), "float('inf')"}, {math.Inf(-1), "float('-inf')"}, {math.NaN(), "float('nan')"}, {math.Copysign(0, -1), "-0.0"},
		{1.0, "1.0"}, {1e15, "1e15"}, {1e16, "1e16"}, {123456789012345680.0, "123456789012345680.0"}, {1e-4, "1e-4"}, {1e-5, "1e-5"}, {9999999999999998.0, "9999999999999998.0"},
		{math.MaxFloat64, "1.7976931348623157e308"}, {5e-324, "5e-324"}, {float32(0.1), "0.1"}, {float32(2), "2.0"}, {float32(1e20), "1e20"},
	}
	every := make([]byte, 256)
	expr := "b'"
	for i := range every {
		every[i] = byte(i)
		expr += "\\x" + strconv.FormatInt(int64(0x100+i), 16)[1:]
	}
	all = append(all, argument{every, expr + "'"})
	r := rand.New(rand.NewPCG(5, 6))
	for range n {
		switch r.IntN(3) {
		case 0:
			f := math.Float64frombits(r.Uint64())
			if math.IsNaN(f) || math.IsInf(f, 0) {
				continue
			}
			all = append(all, argument{f, strconv.FormatFloat(f, 'g', -1, 64) + "*1.0"})
		case 1:
			f := float64(r.Int64N(1e15)) / math.Pow10(r.IntN(25))
			all = append(all, argument{f, "float('" + strconv.FormatFloat(f, 'g', -1, 64) + "')"})
		default:
			i := r.Int64()
			all = append(all, argument{i, strconv.FormatInt(i, 10)})
		}
	}
	return all
}

func TestStrIsPythons(t *testing.T) {
	all := arguments(20_000)
	var exprs, want []string
	for _, a := range all {
		exprs = append(exprs, a.expr)
	}
	pythontest.Ask(t, "answer = [str(eval(e)) for e in question]", exprs, &want)
	for i, a := range all {
		if got, err := dogpilepy.Str(a.v); err != nil || got != want[i] {
			t.Errorf("%#v: %q, %v, and Python has %q for %.60s", a.v, got, err, want[i], a.expr)
		}
	}
}

func TestStrRefuses(t *testing.T) {
	type loop *loop
	var l loop
	l = &l
	for _, v := range []any{[]int{1}, map[string]int{}, struct{}{}, time.Time{}, make(chan int), [2]byte{}, complex(1, 2), "a\xff", l, errors.New("x"), big.Float{}} {
		dst, err := dogpilepy.AppendStr([]byte("x"), v)
		if !errors.Is(err, dogpilepy.ErrKey) || !strings.Contains(err.Error(), "region.WithKey") || string(dst) != "x" {
			t.Errorf("%T: %q, %v, want ErrKey that says region.WithKey, and x", v, dst, err)
		}
	}
	if _, err := dogpilepy.FunctionKey("m:f", "", 1, []int{}); !errors.Is(err, dogpilepy.ErrKey) || !strings.Contains(err.Error(), "m:f: argument 2") {
		t.Errorf("%v, want ErrKey that says which argument", err)
	}
	if _, err := dogpilepy.FunctionMultiKeys("m:f", "", 1, []int{}); !errors.Is(err, dogpilepy.ErrKey) {
		t.Errorf("%v, want ErrKey", err)
	}
	for _, function := range []string{"", "f", ":f", "m:", "m\xff:f"} {
		if _, err := dogpilepy.FunctionKey(function, ""); !errors.Is(err, dogpilepy.ErrKey) {
			t.Errorf("%q: %v, want ErrKey", function, err)
		}
	}
	if _, err := dogpilepy.FunctionKey("m:f", "\xff"); !errors.Is(err, dogpilepy.ErrKey) {
		t.Errorf("%v, want ErrKey", err)
	}
	for _, names := range [][]string{nil, {"a"}, {"a", "a"}, {"a", "b", "c"}} {
		if _, err := dogpilepy.KwargFunctionKey("m:f", "", names, 1, 2); !errors.Is(err, dogpilepy.ErrKey) {
			t.Errorf("%q: %v, want ErrKey", names, err)
		}
	}
}

// The keys are those of the generators of dogpile.cache, for many functions and arguments.
func TestKeysArePythons(t *testing.T) {
	type call struct {
		Namespace string
		Names     []string
		Exprs     []string
	}
	type answer struct {
		Key, Kwarg, KwargByName string
		Multi                   []string
	}
	all := arguments(200)
	r := rand.New(rand.NewPCG(7, 8))
	pool := []string{"a", "b", "B", "_", "a1", "aa", "z", "\u00e9", "\u4e2d", "id", "Z"}
	var calls []call
	var values [][]any
	for i := range 1000 {
		c := call{Namespace: []string{"", "ns", "n|s", "\u00e9 x"}[r.IntN(4)], Names: []string{}, Exprs: []string{}}
		var vs []any
		for _, n := range r.Perm(len(pool))[:min(i, r.IntN(6))] {
			a := all[r.IntN(len(all))]
			c.Names, c.Exprs = append(c.Names, pool[n]), append(c.Exprs, a.expr)
			vs = append(vs, a.v)
		}
		calls, values = append(calls, c), append(values, vs)
	}
	var answers []answer
	pythontest.Ask(t, `
from dogpile.cache.util import function_key_generator, function_multi_key_generator, kwarg_function_key_generator
answer = []
for i, c in enumerate(question):
    names, args = c["Names"], [eval(e) for e in c["Exprs"]]
    # One in three is a method, and the others have defaults.
    self = ["self"] if i % 3 == 0 else []
    defaults = [] if self else ["%s=args[%d]" % (n, j) for j, n in enumerate(names)]
    scope = {"args": args, "__name__": "some.module"}
    exec("def load(%s): pass" % ", ".join(self + (defaults or names)), scope)
    fn, namespace, head = scope["load"], c["Namespace"] or None, [None] * len(self)
    kwarg = kwarg_function_key_generator(namespace, fn)
    half = len(args) // 2
    answer.append({
        "Key": function_key_generator(namespace, fn)(*head, *args),
        "Multi": function_multi_key_generator(namespace, fn)(*head, *args),
        "Kwarg": kwarg(*head, *args),
        "KwargByName": kwarg(*head, *args[:half], **(dict(zip(names[half:], args[half:])) if self else {})),
    })`, calls, &answers)
	for i, c := range calls {
		want := answers[i]
		if got, err := dogpilepy.FunctionKey("some.module:load", c.Namespace, values[i]...); err != nil || got != want.Key {
			t.Errorf("%v: %q, %v, and Python has %q", c, got, err, want.Key)
		}
		if got, err := dogpilepy.FunctionMultiKeys("some.module:load", c.Namespace, values[i]...); err != nil || !slices.Equal(got, want.Multi) {
			t.Errorf("%v: %q, %v, and Python has %q", c, got, err, want.Multi)
		}
		got, err := dogpilepy.KwargFunctionKey("some.module:load", c.Namespace, c.Names, values[i]...)
		if err != nil || got != want.Kwarg || got != want.KwargByName {
			t.Errorf("%v: %q, %v, and Python has %q and %q", c, got, err, want.Kwarg, want.KwargByName)
		}
	}
	if got, _ := dogpilepy.FunctionKey("m:f", ""); got != "m:f|" {
		t.Errorf("without arguments the key is %q, want m:f|", got)
	}
}

// Keys of one call are not made of another one's memory.
func TestMultiKeysShareNothing(t *testing.T) {
	keys, err := dogpilepy.FunctionMultiKeys("m:f", "n", "a", "b", "c")
	if want := []string{"m:f|n|a", "m:f|n|b", "m:f|n|c"}; err != nil || !reflect.DeepEqual(keys, want) {
		t.Errorf("%q, %v, want %q", keys, err, want)
	}
}

func TestAppendStrDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 100)
	for _, v := range []any{1, int64(2), "text", 1.5, true, nil, uint8(3), name("n"), []byte("a'b")} {
		if n := testing.AllocsPerRun(100, func() { _, _ = dogpilepy.AppendStr(buf, v) }); n > 0 {
			t.Errorf("%T: %v allocations, want none", v, n)
		}
	}
}
