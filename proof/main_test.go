package proof

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/fleettest"
)

func TestMain(m *testing.M) {
	fleettest.Roles(map[string]fleettest.Role{"member": play})
	goleak.VerifyTestMain(m)
}
