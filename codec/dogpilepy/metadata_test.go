package dogpilepy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/dogpilepy"
	"github.com/dogpile-go/dogpile/internal/pythontest"
)

func TestConfig(t *testing.T) {
	if err := dogpilepy.Format.Err(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	if got, want := new(dogpilepy.Interop).Layout(), (codec.Layout{LockPrefix: "_lock"}); got != want {
		t.Errorf("the layout is %+v, want %+v", got, want)
	}
	c := dogpilepy.Config{LockPrefix: "a-b.c:D_9", StealAfter: time.Minute, Flags: 16}
	f := dogpilepy.New(c)
	if got, want := f.Layout(), (codec.Layout{LockPrefix: "a-b.c:D_9", StealAfter: time.Minute, Flags: 16}); got != want || f.Err() != nil {
		t.Errorf("the layout is %+v, %v, want %+v", got, f.Err(), want)
	}
	for _, bad := range []dogpilepy.Config{{LockPrefix: "a"}, {LockPrefix: "12345678901"}, {LockPrefix: "a b"}, {LockPrefix: "é"}, {StealAfter: -1}, {StealAfter: 30}} {
		if err := dogpilepy.New(bad).Err(); !errors.Is(err, dogpilepy.ErrConfig) {
			t.Errorf("%+v: %v, want ErrConfig", bad, err)
		}
	}
	if f.Name() != "dogpile.cache" || f.Codec().Name() != "json" {
		t.Errorf("names %q and %q", f.Name(), f.Codec().Name())
	}
}

func TestOpen(t *testing.T) {
	f, err := codec.OpenFormat("dogpilepy?lock_prefix=app_lock&steal_after=30s&flags=16")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Layout(), (codec.Layout{LockPrefix: "app_lock", StealAfter: 30 * time.Second, Flags: 16}); got != want {
		t.Errorf("the layout is %+v, want %+v", got, want)
	}
	if f, err := codec.OpenFormat("DogpilePy"); err != nil || f.Layout() != dogpilepy.Format.Layout() {
		t.Errorf("%v, %v, want the defaults", f, err)
	}
	for options, want := range map[string]string{
		"lock_prefx=ab":     `did you mean "lock_prefix"`,
		"lock_prefix=a":     "2 to 10",
		"steal_after=30":    "such as 30s",
		"steal_after=-1s":   "cannot be negative",
		"flags=x":           "write a number",
		"flags=99999999999": "write a number",
	} {
		if _, err := codec.OpenFormat("dogpilepy?" + options); !errors.Is(err, dogpilepy.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ErrConfig that says %q", options, err, want)
		}
	}
	if err := codec.RegisterFormat("dogpilepy", func(url.Values) (codec.Format, error) { return nil, nil }); err == nil {
		t.Error("the name is free")
	}
}

// times are those that tests go through: all that are special, and many that are not.
func times() []time.Time {
	all := []time.Time{
		{}, time.Unix(0, 0), time.Unix(0, 1), time.Unix(-1, 0), time.Unix(1, 0), time.Unix(1795222722, 152968000),
		time.Unix(1795222722, 0), time.Unix(0, 99_999), time.Unix(0, 100_000), time.Unix(253402300799, 0), time.Unix(253402300800, 0),
		time.Unix(math.MaxInt64, 0), time.Unix(math.MinInt64, 0), time.Unix(1<<53, 0),
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		all = append(all, time.Unix(1_600_000_000+r.Int64N(1e9), r.Int64N(1e9)), time.Unix(1_795_222_722, 1000*r.Int64N(1e6)))
	}
	return all
}

// Python reads from what Append writes the time, as near as a float can be, and writes the
// same bytes for it.
func TestAppendIsPythons(t *testing.T) {
	var written []string
	for _, created := range times() {
		written = append(written, string(dogpilepy.Format.Append([]byte("x"), created))[1:])
	}
	var answer []struct {
		Text string
		CT   float64
		V    bool
	}
	pythontest.Ask(t, `
from dogpile.cache.region import make_region, value_version
region = make_region(serializer=lambda v: v, deserializer=lambda v: v)
answer = []
for text in question:
    value = region._parse_serialized_from_backend(text.encode() + b"payload")
    assert value.payload == b"payload", value
    again = region._serialize_cached_value_elements(b"", value.metadata)
    answer.append({"Text": again.decode(), "CT": value.metadata["ct"], "V": value.metadata["v"] == value_version})`, written, &answer)
	for i, created := range times() {
		want := 0.0
		if s := created.Unix(); s >= 0 && s < 253402300800 {
			want = float64(s) + float64(created.Nanosecond())/1e9
		}
		if got := answer[i]; got.Text != written[i] || got.CT != want || !got.V {
			t.Errorf("%v is written %s, which Python reads as %v and writes %s; want %v", created, written[i], got.CT, got.Text, want)
		}
		parsed, payload, err := dogpilepy.Format.Parse([]byte(written[i] + "payload"))
		if want == 0 {
			if !errors.Is(err, dogpilepy.ErrFormat) {
				t.Errorf("%s: %v, want ErrFormat", written[i], err)
			}
			continue
		}
		if err != nil || string(payload) != "payload" || parsed.Sub(created).Abs() > 240*time.Nanosecond && want < 4e9 {
			t.Errorf("%s: parsed as %v, %q, %v, want %v", written[i], parsed, payload, err, created)
		}
		if again := dogpilepy.Format.Append(nil, parsed); string(again) != written[i] {
			t.Errorf("%s becomes %s", written[i], again)
		}
	}
}

// What time.time() returns comes through Go unchanged.
func TestTimesOfPython(t *testing.T) {
	var texts []string
	pythontest.Ask(t, `
import time
from dogpile.cache.region import make_region
region = make_region(serializer=lambda v: b"", deserializer=lambda v: v)
answer = [region._serialized_payload(None).decode() for _ in range(20000)]`, nil, &texts)
	for _, text := range texts {
		created, _, err := dogpilepy.Format.Parse([]byte(text))
		if err != nil || string(dogpilepy.Format.Append(nil, created)) != text {
			t.Fatalf("%s becomes %v, %v", text, created, err)
		}
		if allocated := testing.AllocsPerRun(1, func() { _, _, _ = dogpilepy.Format.Parse([]byte(text)) }); allocated > 1 {
			t.Fatalf("%s: %v allocations, want none but the bytes", text, allocated)
		}
	}
}

// corpus are metadata, and whether they are those of a value.
var corpus = []struct {
	text string
	want error
}{
	{`{"ct": 1795222722.152968, "v": 2}|payload`, nil},
	{`{"ct": 1795222722.152968, "v": 2}|`, nil},
	{`{"ct": 1795222722.152968, "v": 2}|a|b{`, nil},
	{`{"ct":1795222722.152968,"v":2}|x`, nil},
	{"\t{ \"v\" :2.0 ,\n\"ct\": 1795222722 }\r |x", nil},
	{`{"v": 20e-1, "ct": 1.795222722152968e9}|x`, nil},
	{`{"ct": 0.5, "v": 2}|x`, nil},
	{`{"ct": 1e-5, "v": 2}|x`, nil},
	{`{"ct": 1795222722.1, "v": 2, "go": {"a": [1, null, "\u007c", {"ct": 1}]}, "V": 3, "CT": "x"}|x`, nil},
	{`{"\u0063t": 1795222722.1, "\u0076": 2}|x`, nil},
	{`{"ct": 253402300799.0, "v": 2}|x`, nil},
	{`{"ct": 1795222722.152968, "v": 1}|x`, dogpilepy.ErrVersion},
	{`{"ct": 1795222722.152968, "v": 3}|x`, dogpilepy.ErrVersion},
	{`{"ct": 1795222722.152968, "v": 2.5}|x`, dogpilepy.ErrVersion},
	{`{"ct": 1795222722.152968, "v": "2"}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1795222722.152968, "v": null}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1795222722.152968}|x`, dogpilepy.ErrFormat},
	{`{"v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": "1795222722.1", "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": NaN, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": Infinity, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": true, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": null, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 0, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 0.0, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1e-10, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": -1.5, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1e-400, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1e400, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1e300, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 253402300800.0, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 999999999999999.0, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 01795222722.1, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1795222722., "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": .5, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1.2.3, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1.5, "v": 2, "ct": 1.5}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1.5, "v": 2, "v": 2}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1.5, "v": 2} {}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1.5, "v": 2}`, dogpilepy.ErrFormat},
	{`{"ct": 1.5, "v": 2|x`, dogpilepy.ErrFormat},
	{`{"ct": 1.5, "v": 2,}|x`, dogpilepy.ErrFormat},
	{`{"a": "|", "ct": 1.5, "v": 2}|x`, dogpilepy.ErrFormat},
	{"{\"a\": \"\xff\", \"ct\": 1.5, \"v\": 2}|x", dogpilepy.ErrFormat},
	{"{\"ct\": 1.5, \"v\": 2}\x00|x", dogpilepy.ErrFormat},
	{`[1.5, 2]|x`, dogpilepy.ErrFormat},
	{`|x`, dogpilepy.ErrFormat},
	{``, dogpilepy.ErrFormat},
	{`x`, dogpilepy.ErrFormat},
	{"\x80\x05\x95\x05", dogpilepy.ErrFormat},
	{`{"ct": 1.5, "v": 2, "a": "` + strings.Repeat("x", 4<<10) + `"}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1.5, "v": 2, "a": "` + strings.Repeat("x", 4000) + `"}|x`, nil},
	{`{"ct": 1.5, "v": 2, "a": ` + strings.Repeat("[", 255) + strings.Repeat("]", 255) + `}|x`, nil},
	{`{"ct": 1.5, "v": 2, "a": ` + strings.Repeat("[", 256) + strings.Repeat("]", 256) + `}|x`, dogpilepy.ErrFormat},
	{`{"ct": 1.5, "v": 2, "a": ` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}|x`, dogpilepy.ErrFormat},
	{strings.Repeat("[", 4<<10) + `|x`, dogpilepy.ErrFormat},
}

func TestParse(t *testing.T) {
	for _, c := range corpus {
		created, payload, err := dogpilepy.Format.Parse([]byte(c.text))
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%.100q: %v, want %v", c.text, err, c.want)
		}
		if _, after, _ := strings.Cut(c.text, "|"); err == nil && string(payload) != after {
			t.Errorf("%.100q: the payload is %q, want %q", c.text, payload, after)
		}
		if err != nil && (payload != nil || !created.IsZero()) {
			t.Errorf("%.100q: %v and %q beside the error", c.text, created, payload)
		}
	}
	if _, _, err := dogpilepy.Format.Parse([]byte("\x80\x05\x95")); err == nil || !strings.Contains(err.Error(), "give the Python region a serializer") {
		t.Errorf("%v, want advice about pickles", err)
	}
	created, _, _ := dogpilepy.Format.Parse([]byte(`{"ct": 1795222722.5, "v": 2}|`))
	if want := time.Unix(1795222722, 500_000_000); !created.Equal(want) {
		t.Errorf("created %v, want %v", created, want)
	}
}

// Nobody scans megabytes for what should be in the first bytes.
func TestMetadataIsBounded(t *testing.T) {
	data := append(bytes.Repeat([]byte(" "), 64<<20), '|')
	if _, _, err := dogpilepy.Format.Parse(data); !errors.Is(err, dogpilepy.ErrFormat) {
		t.Errorf("%v, want ErrFormat", err)
	}
	if n := testing.AllocsPerRun(10, func() { _, _, _ = dogpilepy.Format.Parse(data) }); n > 10 {
		t.Errorf("%v allocations for what is no value", n)
	}
}

// What is a value here is one for Python, created at the same time.
func TestParseAgreesWithPython(t *testing.T) {
	var texts [][]byte
	for _, c := range corpus {
		texts = append(texts, []byte(c.text))
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		text := []byte(corpus[r.IntN(11)].text)
		for range 1 + r.IntN(3) {
			at := r.IntN(len(text))
			switch r.IntN(3) {
			case 0:
				text[at] = " \t\n{}[]\",:0123456789.eE+-|\\uct v"[r.IntN(31)]
			case 1:
				text = append(text[:at], text[at+1:]...)
			default:
				from := r.IntN(len(text))
				text = append(text[:at:at], append([]byte{text[from]}, text[at:]...)...)
			}
			if len(text) == 0 {
				break
			}
		}
		texts = append(texts, text)
	}
	var answer []struct {
		CT      float64
		Payload []byte
	}
	pythontest.Ask(t, `
import base64
from dogpile.cache.region import make_region, value_version
region = make_region(serializer=lambda v: v, deserializer=lambda v: v)
answer = []
for text in question:
    try:
        value = region._parse_serialized_from_backend(base64.b64decode(text))
        ct = value.metadata["ct"]
        good = value.metadata["v"] == value_version and not isinstance(ct, (bool, str)) and 0 < ct < 253402300800
        answer.append({"CT": float(ct) if good else 0, "Payload": base64.b64encode(value.payload).decode()})
    except Exception as e:
        answer.append({"CT": 0})`, texts, &answer)
	values, refused := 0, 0
	for i, text := range texts {
		created, payload, err := dogpilepy.Format.Parse(text)
		switch {
		case err == nil && (answer[i].CT == 0 || math.Abs(float64(created.Unix())+float64(created.Nanosecond())/1e9-answer[i].CT) > 1e-9 || !bytes.Equal(payload, answer[i].Payload)):
			t.Errorf("%.200q: %v and %q, and Python reads %v and %q", text, created, payload, answer[i].CT, answer[i].Payload)
		case err == nil:
			values++
		case answer[i].CT != 0:
			refused++
			// Here Go is stricter, on purpose.
			known := strings.Count(string(text), `"ct"`) > 1 || strings.Count(string(text), `"v"`) > 1 || len(text) > 4096 || answer[i].CT < 1e-9 || !bytes.Contains(text, []byte("|")) || bytes.Count(text, []byte("[")) > 250
			if !known {
				t.Errorf("%.200q: %v, and Python reads %v", text, err, answer[i].CT)
			}
		}
	}
	if values < 1000 {
		t.Errorf("only %d of %d were values", values, len(texts))
	}
	t.Logf("%d values, and %d that only Python takes", values, refused)
}

// The way for Python's own bytes and that for all others come to the same.
func FuzzParse(f *testing.F) {
	for _, c := range corpus {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		created, payload, err := dogpilepy.Format.Parse(data)
		if err == nil {
			if !bytes.HasSuffix(data, payload) || data[len(data)-len(payload)-1] != '|' || bytes.IndexByte(data, '|') != len(data)-len(payload)-1 {
				t.Fatalf("%q: the payload %q does not begin behind the first |", data, payload)
			}
			again, _, err := dogpilepy.Format.Parse(dogpilepy.Format.Append(nil, created))
			if created.Unix() > 1<<24 && (err != nil || !again.Equal(created)) {
				t.Fatalf("%q: %v becomes %v, %v", data, created, again, err)
			}
		}
		// A space in front leaves only the slow way.
		spaced, spacedPayload, spacedErr := dogpilepy.Format.Parse(append([]byte(" "), data...))
		if len(data) < 4096 && ((err == nil) != (spacedErr == nil) || !spaced.Equal(created) || !bytes.Equal(payload, spacedPayload)) {
			t.Fatalf("%q: %v, %q, %v, and with a space in front %v, %q, %v", data, created, payload, err, spaced, spacedPayload, spacedErr)
		}
	})
}

func TestJSON(t *testing.T) {
	c := dogpilepy.JSON()
	for text, want := range map[string]bool{
		`"a"`: true, `"\ud83d\ude00"`: true, `"\\ud800"`: true, `"\u0041\n\\"`: true, `[1, 2.5, null, {"a": "dr\u00f4le|pipe"}]`: true,
		`"\ud83d\\\ude00"`: false, `"\ud800"`: false, `"\udc00"`: false, `"\udc00\udc00"`: false, `"\ud800\ud800"`: false, `"\ud800x"`: false, `"\\\ud800"`: false,
		`{"\ud800": 1}`: false, "\"\xff\"": false, `NaN`: false, `[Infinity]`: false, `-Infinity`: false, `1 `: false, ``: false, `"\ud8`: false, `\`: false,
	} {
		var v any
		if err := c.Decode([]byte(text), &v); (err == nil) != want {
			t.Errorf("%s: %#v, %v; want it to be read: %v", text, v, err, want)
		}
	}
	var n int64
	for _, bad := range []string{"9223372036854775808", "2.0", "1e3", `"1"`} {
		if err := c.Decode([]byte(bad), &n); err == nil {
			t.Errorf("%s became %d", bad, n)
		}
	}
	var big any
	if err := c.Decode([]byte("123456789012345678901234567890"), &big); err != nil || big != json.Number("123456789012345678901234567890") {
		t.Errorf("a large integer became %v, %v", big, err)
	}
}

// A document goes from Python to Go and back.
func TestJSONWithPython(t *testing.T) {
	type document struct {
		ID    int64             `json:"id"`
		Text  string            `json:"text"`
		Score float64           `json:"score"`
		Names map[string]string `json:"names"`
		List  []*int            `json:"list"`
	}
	one := 1
	want := document{1 << 62, "drôle | \u2028 <&> \U0001f600 \x00", 0.1, map[string]string{"é": "\"\\"}, []*int{&one, nil}}
	stored, err := dogpilepy.JSON().Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	var back []byte
	pythontest.Ask(t, `
import base64
value = json.loads(base64.b64decode(question))
assert value == {"id": 1 << 62, "text": "dr\u00f4le | \u2028 <&> \U0001f600 \x00", "score": 0.1, "names": {"\u00e9": "\"\\"}, "list": [1, None]}, value
answer = base64.b64encode(json.dumps(value).encode()).decode()`, stored, &back)
	var got document
	if err := dogpilepy.JSON().Decode(back, &got); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.ID, got.Text, got.Score, got.Names, len(got.List), *got.List[0], got.List[1]) != fmt.Sprint(want.ID, want.Text, want.Score, want.Names, 2, 1, want.List[1]) {
		t.Errorf("came back as %+v, want %+v", got, want)
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range []string{`"\ud83d\ude00"`, `"\ud800"`, `{"a\\": [1, "\\\ud800"]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if dogpilepy.JSON().Decode(data, &v) != nil {
			return
		}
		// encoding/json puts U+FFFD where it loses something.
		again, err := dogpilepy.JSON().Append(nil, v)
		if err != nil {
			t.Fatalf("%q was read as %#v, which cannot be stored: %v", data, v, err)
		}
		lost := bytes.Count(again, []byte("\ufffd")) - bytes.Count(data, []byte("\ufffd")) - bytes.Count(bytes.ToLower(data), []byte(`\ufffd`))
		if lost > 0 {
			t.Fatalf("%q was read as %#v", data, v)
		}
	})
}

func BenchmarkHit(b *testing.B) {
	type user struct {
		ID    int64    `json:"id"`
		Name  string   `json:"name"`
		Email string   `json:"email"`
		Tags  []string `json:"tags"`
	}
	data := []byte(`{"ct": 1795222722.152968, "v": 2}|{"id": 5, "name": "dr\u00f4le", "email": "a@example.org", "tags": ["a", "b"]}`)
	other := append([]byte(" "), data...)
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := dogpilepy.Format.Parse(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ParseOtherForm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := dogpilepy.Format.Parse(other); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ParseAndJSON", func(b *testing.B) {
		b.ReportAllocs()
		c := dogpilepy.JSON()
		for b.Loop() {
			_, payload, err := dogpilepy.Format.Parse(data)
			if err != nil {
				b.Fatal(err)
			}
			var u user
			if err := c.Decode(payload, &u); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Append", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 100)
		created := time.Unix(1795222722, 152968000)
		for b.Loop() {
			dogpilepy.Format.Append(buf, created)
		}
	})
}
