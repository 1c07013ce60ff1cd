package region_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/json"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
)

// plainText is a format that has nothing but the time.
type plainText struct{ wrong error }

func (plainText) Name() string         { return "plaintext" }
func (plainText) Layout() codec.Layout { return codec.Layout{LockPrefix: "lock:"} }
func (plainText) Codec() codec.Codec   { return json.New() }
func (f plainText) Err() error         { return f.wrong }

func (plainText) Append(dst []byte, created time.Time) []byte {
	return append(created.UTC().AppendFormat(dst, time.RFC3339Nano), '|')
}

func (plainText) Parse(data []byte) (time.Time, []byte, error) {
	at, payload, found := strings.Cut(string(data), "|")
	if !found {
		return time.Time{}, nil, errors.New("not plaintext")
	}
	created, err := time.Parse(time.RFC3339Nano, at)
	return created, []byte(payload), err
}

func TestInteropIsCheckedWhenConfigured(t *testing.T) {
	var none *plainText
	for _, c := range []struct {
		name string
		cfg  region.Config
		want string
	}{
		{"a backend that nobody can share", region.Config{Interop: plainText{}}, "plaintext cannot reach what is stored in a *memory.Backend"},
		{"a nil format", region.Config{Interop: none}, "Interop is a nil *region_test.plainText"},
		{"a format that is wrong", region.Config{Interop: plainText{errors.New("the prefix is too long")}}, "Interop: the prefix is too long"},
		{"not found", region.Config{Interop: plainText{}, NotFoundFor: time.Minute}, "NotFoundFor with Interop"},
		{"calls that never end", region.Config{Interop: plainText{}, MaxWait: region.Forever}, "MaxWait is Forever with Interop"},
		{"a mutex", region.Config{Interop: plainText{}, Mutex: local.New()}, "Mutex with Interop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := memory.New(memory.Config{})
			defer b.Close()
			c.cfg.Backend, c.cfg.Expiration = b, time.Minute
			_, err := region.New("shared", c.cfg)
			if !errors.Is(err, region.ErrConfig) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want an ErrConfig that says %q", err, c.want)
			}
		})
	}
}
