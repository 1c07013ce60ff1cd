package memcachedio

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(memcachedtest.WithShared(m)) }
