package memcached_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

func TestMain(m *testing.M) {
	fleettest.Roles(map[string]fleettest.Role{"herd": herd, "lock holder": lockHolder, "hammer": hammer})
	goleak.VerifyTestMain(memcachedtest.WithShared(m))
}
