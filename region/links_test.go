package region_test

import (
	"os/exec"
	"strings"
	"testing"
)

// A program with regions in memory links neither clients of servers that it does
// not use nor the testing package.
func TestAMemoryOnlyProgramIsLight(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps",
		"github.com/dogpile-go/dogpile/decorate", "github.com/dogpile-go/dogpile/backend/memory").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 20 {
		t.Fatalf("go list printed %q", packages)
	}
	for _, path := range packages {
		for _, heavy := range []string{"redis", "memcache", "flock", "database/sql", "net/http", "testing", "prometheus", "opentelemetry", "klauspost", "yaml", "codec/compress", "codec/encrypt"} {
			if strings.Contains(path, heavy) {
				t.Errorf("it links %s", path)
			}
		}
	}
}
