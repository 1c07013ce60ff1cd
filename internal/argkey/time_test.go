package argkey_test

import (
	"math"
	"testing"
	"time"
	_ "time/tzdata" // so that no machine lacks Europe/Rome

	"pgregory.net/rapid"
)

func TestTime(t *testing.T) {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2024, 5, 1, 12, 0, 0, 0, rome)
	tests := []struct {
		arg  any
		want string
	}{
		{noon, `time.Time(2024-05-01T12:00:00+02:00[Europe/Rome])`},
		{noon.Add(1), `time.Time(2024-05-01T12:00:00.000000001+02:00[Europe/Rome])`},
		{noon.UTC(), `time.Time(2024-05-01T10:00:00Z)`},
		{noon.In(time.FixedZone("UTC", 0)), `time.Time(2024-05-01T10:00:00Z)`},
		{noon.In(time.FixedZone("GMT", 0)), `time.Time(2024-05-01T10:00:00Z[GMT])`},
		{noon.In(time.FixedZone("UTC", 3600)), `time.Time(2024-05-01T11:00:00+01:00[UTC])`},
		{noon.In(time.FixedZone("", 3600)), `time.Time(2024-05-01T11:00:00+01:00[""])`},
		{noon.In(time.FixedZone(`a"]`, 3600)), `time.Time(2024-05-01T11:00:00+01:00["a\"]"])`},
		{noon.In(time.FixedZone("LMT", 2996)), `time.Time(2024-05-01T10:49:56+00:49:56[LMT])`},
		{noon.In(time.FixedZone("X", 1e6)), `time.Time(@1714557600.0s offset 1000000[X])`},
		{time.Unix(math.MaxInt64, 5).UTC(), `time.Time(@9223372036854775807.5s offset 0)`},
		{time.Time{}, `time.Time(0001-01-01T00:00:00Z)`},
		{date(noon.UTC()), pkg + `date(2024-05-01T10:00:00Z)`},
		{[]time.Time{noon.UTC()}, `[]time.Time{2024-05-01T10:00:00Z}`},
		{struct{ at date }{date(noon)}, `struct{"github.com/dogpile-go/dogpile/internal/argkey_test".at ` + pkg + `date}{at:2024-05-01T12:00:00+02:00[Europe/Rome]}`},
	}
	for _, tt := range tests {
		if got := text(t, tt.arg); got != "("+tt.want+")" {
			t.Errorf("got  %s\nwant (%s)", got, tt.want)
		}
	}
}

func TestMonotonicReadingIsLeftOut(t *testing.T) {
	now := time.Now()
	if now == now.Round(0) {
		t.Fatal("this clock has no monotonic reading to leave out")
	}
	if a, b := text(t, now, node{at: now}), text(t, now.Round(0), node{at: now.Round(0)}); a != b {
		t.Errorf("%s differs from %s", a, b)
	}
}

func TestTimesDiffer(t *testing.T) {
	instant := rapid.OneOf(
		rapid.Int64Range(0, 2),
		rapid.Int64Range(-62135596800-2, -62135596800+2),
		rapid.Int64Range(253402300800-2, 253402300800+2),
		rapid.Int64(),
	)
	offset := rapid.OneOf(
		rapid.SampledFrom([]int{0, 1, -1, 59, 60, -60, 90, -90, 3600, 86399, 86400, -86400}),
		rapid.IntRange(-100000, 100000),
		rapid.Int(),
	)
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		zone := time.FixedZone(rapid.SampledFrom([]string{"UTC", "", "A", `"`, "]"}).Draw(t, "zone"), offset.Draw(t, "offset"))
		return time.Unix(instant.Draw(t, "sec"), rapid.Int64Range(0, 2).Draw(t, "nsec")).In(zone)
	})
	rapid.Check(t, func(rt *rapid.T) {
		a, b := moment.Draw(rt, "a"), moment.Draw(rt, "b")
		if got, want := text(t, a) == text(t, b), sameTime(a, b); got != want {
			rt.Fatalf("same text %v, same time %v: %s, %s", got, want, text(t, a), text(t, b))
		}
		d, e := time.Duration(rapid.Int64().Draw(rt, "d")), time.Duration(rapid.Int64().Draw(rt, "e"))
		if (text(t, d) == text(t, e)) != (d == e) {
			rt.Fatalf("durations %d and %d: %s, %s", d, e, text(t, d), text(t, e))
		}
	})
}

func sameTime(a, b time.Time) bool {
	_, aOffset := a.Zone()
	_, bOffset := b.Zone()
	return a.Equal(b) && aOffset == bOffset && a.Location().String() == b.Location().String()
}
