package memcached_test

import (
	"fmt"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/deploytest"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

func TestTwoReleases(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			cfg := memcached.Config{Servers: memcachedtest.Addrs(memcachedtest.Shared(t, n)), Prefix: space()}
			deploytest.Run(t, func() backend.Backend { return memcached.New(cfg) })
		})
	}
}
