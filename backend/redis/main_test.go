package redis_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestMain(m *testing.M) {
	fleettest.Roles(map[string]fleettest.Role{"herd": herd, "share holder": shareHolder})
	goleak.VerifyTestMain(redistest.WithShared(m))
}
