// Package fleettest runs a test in several processes: it starts the test binary again
// as N workers that play a role instead of running tests, talks with them, and stops,
// continues and kills them.
//
// Roles are named in TestMain, before anything else:
//
//	func TestMain(m *testing.M) {
//		fleettest.Roles(map[string]fleettest.Role{"herd": herd})
//		goleak.VerifyTestMain(redistest.WithShared(m))
//	}
//
//	func herd(w *fleettest.Worker) error {
//		var params struct{ URL string }
//		if err := w.Params(&params); err != nil {
//			return err
//		}
//		region := ... // connect, get ready
//		w.Ready()
//		w.Await("go")
//		value, err := region.GetOrCreate(ctx, "key", func(...) {
//			w.Event("creating", nil) // known to the parent even if it kills us now
//			...
//		})
//		w.Report(value)
//		return err
//	}
//
// and played in a test:
//
//	fleet := fleettest.Start(t, "herd", 8, params)
//	fleet.AwaitReady()
//	fleet.Send("go")
//	holder := fleet.AwaitEvents("creating", 1)[0].Worker
//	fleet.Workers[holder].Kill()
//	...
//	fleet.Wait()
//	if n := len(fleet.Events("creating")); n != 2 { ... }
//
// Everything that waits does so for [Patience] at the longest and then fails the test.
// A worker that returns an error, that ends in any way but by [Process.Kill], or in
// which the race detector finds something fails the test too. What workers write to
// their standard error or output is in the test's log.
//
// Workers end with the test. A worker also ends when its parent is gone.
package fleettest

import (
	"os"
	"time"
)

// Patience is how long a test waits for its workers before it fails. Workers with the
// race detector on a busy machine need seconds to start.
const Patience = 2 * time.Minute

// Long says whether tests are to run in their long form, which takes minutes: many
// rounds, many keys, many processes. It is set by the environment variable
// DOGPILE_LONG=1, as by make faults.
func Long() bool { return os.Getenv("DOGPILE_LONG") == "1" }

// roleVariable is set in the environment of workers only.
const roleVariable = "DOGPILE_FLEET_ROLE"
