package dogpilepy_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestMain(m *testing.M) {
	fleettest.Roles(map[string]fleettest.Role{"mixed": mixed, "holder": holder})
	goleak.VerifyTestMain(memcachedtest.WithShared(redistest.WithShared(m)))
}
