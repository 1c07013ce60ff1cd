package region_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regiontest"
)

var errNoText = errors.New("has no text")

// spaced joins the texts of numbers and texts.
func spaced(args ...any) (string, error) {
	texts := make([]string, len(args))
	for i, arg := range args {
		switch arg.(type) {
		case int, string:
			texts[i] = fmt.Sprint(arg)
		default:
			return "", fmt.Errorf("a %T %w", arg, errNoText)
		}
	}
	return "app:load|" + strings.Join(texts, " "), nil
}

func TestKeyForms(t *testing.T) {
	r := regiontest.New(t)
	form := region.WithKeyForm(spaced)
	key := func(key string, err error) string {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return key
	}
	type filter struct {
		City string
		Min  int
	}
	got := []string{
		key(decorate.CacheOnArguments0(r, func(context.Context) (int, error) { return 0, nil }, form).Key()),
		key(decorate.CacheOnArguments(r, func(context.Context, int) (int, error) { return 0, nil }, form).Key(1)),
		key(decorate.CacheOnArguments2(r, func(context.Context, int, string) (int, error) { return 0, nil }, form).Key(1, "b")),
		key(decorate.CacheOnArguments3(r, func(context.Context, int, string, int) (int, error) { return 0, nil }, form).Key(1, "b", 3)),
		key(decorate.CacheOnArguments4(r, func(context.Context, int, string, int, int) (int, error) { return 0, nil }, form).Key(1, "b", 3, 4)),
		key(decorate.CacheOnArguments(r, func(context.Context, filter) (int, error) { return 0, nil }, form).Key(filter{"Rome", 3})),
		key(decorate.CacheMultiOnArguments(r, func(context.Context, []int) (map[int]int, error) { return nil, nil }, form).Key(7)),
	}
	want := []string{"app:load|", "app:load|1", "app:load|1 b", "app:load|1 b 3", "app:load|1 b 3 4", "app:load|Rome 3", "app:load|7"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("key %d is %q; want %q", i, got[i], want[i])
		}
	}

	// What a form cannot tell apart it has to be asked about as a whole.
	at := decorate.CacheOnArguments(r, func(context.Context, time.Time) (int, error) { return 0, nil }, form)
	if _, err := at.Call(t.Context(), time.Now()); !errors.Is(err, errNoText) || !errors.Is(err, region.ErrConfig) {
		t.Errorf("a call with an argument that the form refuses returned %v; want its error as an ErrConfig", err)
	}
	one := decorate.CacheOnArguments(r, func(context.Context, int) (int, error) { return 5, nil }, form)
	if v, err := one.Call(t.Context(), 9); v != 5 || err != nil {
		t.Errorf("the call returned %v, %v", v, err)
	}
	if v, ok, err := region.Get[int](t.Context(), r, "app:load|9"); v != 5 || !ok || err != nil {
		t.Errorf("under the form's key is %v, %v, %v; want 5", v, ok, err)
	}
	if err := one.InvalidateAll(t.Context()); !errors.Is(err, region.ErrConfig) {
		t.Errorf("InvalidateAll returned %v; want an ErrConfig", err)
	}
}

func TestKeyFormsThatMakeNoSense(t *testing.T) {
	r := regiontest.New(t)
	load := func(context.Context, int) (int, error) { return 0, nil }
	for name, opts := range map[string][]region.Option{
		"no form":         {region.WithKeyForm(nil)},
		"a key as well":   {region.WithKeyForm(spaced), region.WithKey(func(int) string { return "k" })},
		"a namespace too": {region.WithKeyForm(spaced), region.Namespace("n")},
	} {
		if _, err := decorate.CacheOnArguments(r, load, opts...).Call(t.Context(), 1); !errors.Is(err, region.ErrConfig) {
			t.Errorf("%s: the call returned %v; want an ErrConfig", name, err)
		}
	}
}
