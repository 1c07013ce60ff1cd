package fleet_test

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// refusedBackoff is so short that tests see what is tried again.
const refusedBackoff = 200 * time.Millisecond

func TestMain(m *testing.M) {
	// Most tests wait nearly all of the time. A -parallel on the command line is read
	// later.
	_ = flag.Set("test.parallel", "6")
	fleet.SetRefusedBackoff(refusedBackoff)
	fleettest.Roles(map[string]fleettest.Role{"holder": holder})
	goleak.VerifyTestMain(redistest.WithShared(m))
}
