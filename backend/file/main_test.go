package file_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/fleettest"
)

func TestMain(m *testing.M) {
	fleettest.Roles(map[string]fleettest.Role{
		"herd":    herd,
		"writer":  writer,
		"crowded": crowded,
		"filler":  filler,
	})
	goleak.VerifyTestMain(m)
}
