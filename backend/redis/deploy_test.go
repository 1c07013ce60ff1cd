package redis_test

import (
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/deploytest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestTwoReleases(t *testing.T) {
	for name, server := range map[string]func() string{
		"standalone": func() string { return "redis://" + redistest.Shared(t).Addr },
		"cluster":    func() string { return "redis+cluster://" + strings.Join(redistest.SharedCluster(t).Addrs, ",") },
	} {
		t.Run(name, func(t *testing.T) {
			url := server() + "?prefix=" + space()
			deploytest.Run(t, func() backend.Backend {
				b, err := backend.Open(url)
				if err != nil {
					t.Fatal(err)
				}
				return b
			})
		})
	}
}
