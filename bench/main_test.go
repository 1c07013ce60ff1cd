package bench

import (
	"os"
	"testing"

	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestMain(m *testing.M) {
	fleettest.Roles(map[string]fleettest.Role{"herd": herd})
	os.Exit(redistest.WithShared(memcachedtest.WithShared(m)).Run())
}
