package regionconfig_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	_ "github.com/dogpile-go/dogpile/backend/memcached"
	_ "github.com/dogpile-go/dogpile/backend/memory"
	_ "github.com/dogpile-go/dogpile/backend/redis"
	_ "github.com/dogpile-go/dogpile/codec/compress"
	_ "github.com/dogpile-go/dogpile/codec/json"
	"github.com/dogpile-go/dogpile/region"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The regions of this program.
var (
	users   = region.Declare("users")
	reports = region.Declare("reports")
)

// file writes a file and returns its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// configured configures the regions, and closes them when the test ends.
func configured(t *testing.T, setup region.Setup, adjust ...func(string, *region.Config)) error {
	t.Helper()
	t.Cleanup(func() {
		if err := errors.Join(users.Close(), reports.Close()); err != nil {
			t.Error(err)
		}
	})
	return region.ConfigureAll(setup, adjust...)
}

// unconfigured checks that no region is configured.
func unconfigured(t *testing.T) {
	t.Helper()
	for _, r := range []*region.Region{users, reports} {
		_, _, err := region.Get[string](t.Context(), r, "k")
		if !errors.Is(err, region.ErrNotConfigured) && !errors.Is(err, region.ErrClosed) {
			t.Errorf("region %s: %v, want that it is not configured", r.Name(), err)
		}
	}
}

// tells checks an error: one problem for each of wants, in which all its words are.
func tells(t *testing.T, err error, wants ...[]string) {
	t.Helper()
	var setup *region.SetupError
	if !errors.As(err, &setup) || !errors.Is(err, region.ErrConfig) {
		t.Fatalf("the error is %v, want a *region.SetupError that wraps ErrConfig", err)
	}
	if len(setup.Problems) != len(wants) {
		t.Fatalf("%d problems, want %d:\n%v", len(setup.Problems), len(wants), err)
	}
	for i, words := range wants {
		for _, word := range words {
			if !strings.Contains(setup.Problems[i].Error(), word) {
				t.Errorf("problem %d is %q, want %q in it", i, setup.Problems[i], word)
			}
		}
	}
}

func line(n int) string { return fmt.Sprintf(".yaml:%d: ", n) }
