package codec_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/codec"
	_ "github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/codec/codectest"
	_ "github.com/dogpile-go/dogpile/codec/compress"
	"github.com/dogpile-go/dogpile/codec/encrypt"
	_ "github.com/dogpile-go/dogpile/codec/json"
	_ "github.com/dogpile-go/dogpile/codec/raw"
)

const oneKey = "2026-11:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// refuses is what the codec in front of every stack cannot encode.
func refuses(stack string) func(string) bool {
	return func(name string) bool {
		switch strings.Split(stack, "+")[0] {
		case "cbor":
			return name == "complex"
		case "json":
			return slices.Contains([]string{"complex", "float/NaN", "float/infinity", "string/not UTF-8"}, name)
		}
		return !strings.HasPrefix(name, "bytes/") && !strings.HasPrefix(name, "string/")
	}
}

// often are the stacks for which the suite is run each time. For all of them it takes
// a minute with the race detector.
var often = map[string]bool{
	"cbor+zstd": true, "cbor+gzip+aesgcm": true, "json+zstd+aesgcm": true, "json+gzip": true,
	"raw+zstd": true, "raw+gzip": true, "raw+aesgcm": true, "raw+zstd+aesgcm": true, "raw+gzip+aesgcm": true,
}

func TestEveryStackKeepsTheContract(t *testing.T) {
	t.Setenv(encrypt.EnvKeys, oneKey)
	for _, first := range []string{"cbor", "json", "raw"} {
		for _, layers := range []string{"", "+zstd", "+gzip", "+aesgcm", "+zstd+aesgcm", "+gzip+aesgcm"} {
			t.Run(first+layers, func(t *testing.T) {
				c, err := codec.Open(first + layers)
				if err != nil {
					t.Fatal(err)
				}
				if c.Name() != first+layers {
					t.Errorf("it calls itself %q; the name is what stored values are told apart by", c.Name())
				}
				if often[first+layers] || os.Getenv("DOGPILE_LONG") != "" {
					codectest.Run(t, c, refuses(first))
				}
			})
		}
	}
}

// keeper keeps the bytes that it is decoded from, which it should not.
type keeper struct{ kept []byte }

func (k keeper) MarshalCBOR() ([]byte, error) {
	return append([]byte{0x78, byte(len(k.kept))}, k.kept...), nil
}

func (k *keeper) UnmarshalCBOR(data []byte) error {
	k.kept = data[2:]
	return nil
}

// A mistake in a type does not change values that were decoded long ago.
func TestWhatATypeKeepsIsNotUsedAgain(t *testing.T) {
	t.Setenv(encrypt.EnvKeys, oneKey)
	for _, layers := range []string{"+zstd", "+gzip", "+aesgcm", "+zstd+aesgcm"} {
		c, err := codec.Open("cbor" + layers)
		if err != nil {
			t.Fatal(err)
		}
		var got [20]keeper
		letters := func(i int) string { return strings.Repeat(string(rune('a'+i)), 200) }
		for i := range got {
			data, err := c.Append(nil, slices.Repeat([]keeper{{[]byte(letters(i))}}, 10))
			if err != nil {
				t.Fatal(err)
			}
			var list []keeper
			if err := c.Decode(data, &list); err != nil {
				t.Fatal(err)
			}
			got[i] = list[9]
		}
		for i := range got {
			if string(got[i].kept) != letters(i) {
				t.Errorf("cbor%s: value %d has become %.5s…, want %.5s…", layers, i, got[i].kept, letters(i))
			}
		}
	}
}

func TestOpen(t *testing.T) {
	if c, err := codec.Open("CBOR+Zstd"); err != nil || c.Name() != "cbor+zstd" {
		t.Errorf("%v, %v: want case not to count", c, err)
	}
	for name, want := range map[string]struct {
		says    string
		unknown bool
	}{
		"":                                    {"lacks a part", false},
		"+":                                   {"lacks a part", false},
		"cbor+":                               {"lacks a part", false},
		"+zstd":                               {"lacks a part", false},
		"cbor++zstd":                          {"lacks a part", false},
		"cobr":                                {`did you mean "cbor"? Registered are cbor, json, raw`, true},
		"protobuf":                            {"registered are cbor, json, raw", true},
		"msgpack":                             {`import _ "github.com/dogpile-go/dogpile/codec/msgpack"`, true},
		"pikle":                               {`did you mean "pickle"? Then import _ "github.com/dogpile-go/dogpile/codec/dogpilepy"`, true},
		"cbor+zst":                            {`did you mean "zstd"?`, true},
		"cbor+brotli":                         {"registered are aesgcm, gzip, x-odd, zstd", true},
		" cbor":                               {`did you mean "cbor"`, true},
		"cbor zstd":                           {"there is no codec", true},
		"zstd":                                {`write for example "cbor+zstd"`, false},
		"aesgcm+cbor":                         {`write for example "cbor+aesgcm"`, false},
		"cbor+json":                           {"are two codecs", false},
		"cbor+zstd+json":                      {"are two codecs", false},
		"cbor+cbor":                           {"are two codecs", false},
		"cbor+zstd+zstd":                      {"compresses twice", false},
		"cbor+zstd+gzip":                      {"leave out zstd or gzip", false},
		"cbor+aesgcm+aesgcm":                  {"encrypts twice", false},
		"cbor+aesgcm+zstd":                    {`write "cbor+zstd+aesgcm"`, false},
		"cbor+gzip+aesgcm+zstd":               {"compresses twice", false},
		"cbor+x-odd":                          {"open cbor+x-odd: it is odd", false},
		"json+aesgcm":                         {"open json+aesgcm: codec/encrypt: there are no keys", false},
		strings.Repeat("x", 1e6):              {"there is no codec", true},
		"cbor" + strings.Repeat("+zstd", 1e5): {"compresses twice", false},
	} {
		c, err := codec.Open(name)
		if err == nil || c != nil || !strings.Contains(err.Error(), want.says) || errors.Is(err, codec.ErrUnknown) != want.unknown {
			t.Errorf("%.60q: %v, %.300v, want an error that says %q, ErrUnknown %v", name, c, err, want.says, want.unknown)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%.60q: the error has %d bytes, want it short", name, len(err.Error()))
		}
	}
}

var errOdd = errors.New("it is odd")

func init() {
	err := codec.RegisterLayer("X-Odd", codec.Compression, func(codec.Codec) (codec.Codec, error) { return nil, errOdd })
	if err != nil {
		panic(err)
	}
}

func TestAnErrorOfALayerIsWrapped(t *testing.T) {
	if _, err := codec.Open("cbor+x-odd"); !errors.Is(err, errOdd) {
		t.Errorf("%v, want it to wrap the layer's error", err)
	}
	if _, err := codec.Open("cbor+x-odd+aesgcm"); !errors.Is(err, errOdd) {
		t.Errorf("%v, want it to wrap the layer's error", err)
	}
}

func TestRegister(t *testing.T) {
	open := func() (codec.Codec, error) { return nil, errOdd }
	wrap := func(codec.Codec) (codec.Codec, error) { return nil, errOdd }
	for _, name := range []string{"", "cbor", "CBOR", "zstd", "a+b", "a b", "ä", "a\n"} {
		if err := codec.Register(name, open); err == nil {
			t.Errorf("%q is registered as a codec", name)
		}
		if err := codec.RegisterLayer(name, codec.Compression, wrap); err == nil {
			t.Errorf("%q is registered as a layer", name)
		}
	}
	if codec.Register("x-nil", nil) == nil || codec.RegisterLayer("x-nil", codec.Compression, nil) == nil ||
		codec.RegisterLayer("x-none", 0, wrap) == nil || codec.RegisterLayer("x-none", 3, wrap) == nil {
		t.Error("a nil function or no stage is registered")
	}
	if got := codec.Names(); !slices.Equal(got, []string{"cbor", "json", "raw"}) {
		t.Errorf("codecs %q", got)
	}
	if got := codec.Layers(); !slices.Equal(got, []string{"aesgcm", "gzip", "x-odd", "zstd"}) {
		t.Errorf("layers %q", got)
	}
}

type named string

func (n named) Name() string                     { return string(n) }
func (named) Append([]byte, any) ([]byte, error) { return nil, errOdd }
func (named) Decode(data []byte, into any) error { return errOdd }

func TestStacked(t *testing.T) {
	if name, err := codec.Stacked(named("mine+v2"), "zstd"); name != "mine+v2+zstd" || err != nil {
		t.Errorf("%q, %v: want codecs that are not registered to be wrapped", name, err)
	}
	for inner, layer := range map[codec.Codec]string{
		nil:                  "zstd",
		named("cbor"):        "lz4",
		named("cbor+gzip"):   "zstd",
		named("mine+aesgcm"): "zstd",
		named("m+v2+aesgcm"): "aesgcm",
	} {
		if name, err := codec.Stacked(inner, layer); err == nil || name != "" {
			t.Errorf("%v and %s: %q, want an error", inner, layer, name)
		}
	}
}
