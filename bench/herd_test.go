package bench

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

const (
	processes    = 8
	herdCallers  = 500 // in each process
	fewerCallers = 50
	herdRounds   = 3

	// A creator takes so long, and in each round a little more, so that nobody's
	// polling is in step with it.
	createFor = 300 * time.Millisecond
	moreEach  = 37 * time.Millisecond

	// Commands of those who wait are counted for waitFor, from the moment when all of
	// them do. Nothing tells that moment: they get settleFor.
	settleFor = 700 * time.Millisecond
	waitFor   = 2 * time.Second

	// ourLease shows that a takeover does not wait for its end. The rivals wait for the
	// end of theirs, and one of them does not renew it.
	ourLease   = 30 * time.Second
	rivalLease = 4 * time.Second
)

// BenchmarkHerd lets 8 processes loose on one cold key, each with hundreds of callers.
// The processes have been running for a while: they are connected, and each has
// created a value of its own.
func BenchmarkHerd(b *testing.B) {
	for _, who := range fleets {
		b.Run("who="+who.name, func(b *testing.B) {
			b.Run("cold", func(b *testing.B) { coldHerd(b, who, herdCallers) })
			if who.ours {
				b.Run("cold_50", func(b *testing.B) { coldHerd(b, who, fewerCallers) })
			}
			if who.locks {
				b.Run("killed", func(b *testing.B) { killedHerd(b, who) })
			}
		})
	}
}

// herdParams are what the processes of a herd are told.
type herdParams struct {
	Who     string
	Addr    string
	Callers int
	Takes   time.Duration // how long the first creator works; 0: until the signal "finish"
	Rounds  int
}

// herdReport is what a process tells of a round.
type herdReport struct {
	Last   time.Time      // when the last of its callers returned
	Values map[string]int // by value, how many callers got it
	Errors map[string]int
}

// coldHerd reports how many creators there were, when the last caller of all had its
// value, counted from the return of the first creator, and what that cost the server.
func coldHerd(b *testing.B, who fleetOf, callers int) {
	var late []float64
	creations, commands := 0, int64(0)
	for b.Loop() {
		server := redistest.Start(b)
		fleet := fleettest.Start(b, "herd", processes, herdParams{who.name, server.Addr, callers, createFor, herdRounds})
		fleet.AwaitReady()
		for range herdRounds {
			created := len(fleet.Events("created"))
			before := server.Commands(b)
			fleet.Send("go")
			last := collect(b, fleet.Workers, callers, who.ours)
			commands += server.Commands(b) - before
			events := fleet.Events("created")[created:]
			creations += len(events)
			late = append(late, ms(last.Sub(events[0].At)))
		}
		fleet.Wait()
	}
	rounds := float64(len(late))
	b.ReportMetric(0, "ns/op") // it would be the time of the creators
	b.ReportMetric(float64(creations)/rounds, "creations")
	b.ReportMetric(median(late), "last-ms")
	b.ReportMetric(slices.Max(late), "last-ms-max")
	b.ReportMetric(float64(commands)/rounds/processes, "commands/process")
}

// killedHerd reports how many commands the server gets while all wait for one creator,
// and how long it takes until there is another after that one's process was killed.
func killedHerd(b *testing.B, who fleetOf) {
	var took []float64
	commands := int64(0)
	for b.Loop() {
		server := redistest.Start(b)
		fleet := fleettest.Start(b, "herd", processes, herdParams{who.name, server.Addr, herdCallers, 0, 1})
		fleet.AwaitReady()
		fleet.Send("go")
		holder := fleet.AwaitEvents("creating", 1)[0].Worker
		time.Sleep(settleFor)
		before := server.Commands(b)
		time.Sleep(waitFor)
		commands += server.Commands(b) - before
		killed := time.Now()
		fleet.Workers[holder].Kill()
		took = append(took, ms(fleet.AwaitEvents("creating", 2)[1].At.Sub(killed)))
		fleet.Send("finish")
		collect(b, slices.Concat(fleet.Workers[:holder], fleet.Workers[holder+1:]), herdCallers, who.ours)
		fleet.Wait()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(took), "takeover-ms")
	b.ReportMetric(slices.Max(took), "takeover-ms-max")
	b.ReportMetric(float64(commands)/float64(len(took))/processes, "waiting-commands/process")
}

// collect returns when the last caller of a round had its value. Everybody has to have
// got one, and, if so promised, the same.
func collect(b *testing.B, workers []*fleettest.Process, callers int, same bool) (last time.Time) {
	b.Helper()
	values := map[string]int{}
	for _, p := range workers {
		var report herdReport
		p.Report(&report)
		if len(report.Errors) > 0 {
			b.Fatalf("worker %d: %v", p.Index, report.Errors)
		}
		for value, n := range report.Values {
			values[value] += n
		}
		if report.Last.After(last) {
			last = report.Last
		}
	}
	all := 0
	for _, n := range values {
		all += n
	}
	if all != callers*len(workers) || same && len(values) != 1 {
		b.Fatalf("the callers of %d processes got %v, want %d each, and all the same", len(workers), slices.Collect(maps.Values(values)), callers)
	}
	return last
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// TestHerds shows that every fleet gives every caller a value, and ours one creation.
func TestHerds(t *testing.T) {
	for _, who := range fleets {
		t.Run(who.name, func(t *testing.T) {
			server := redistest.Start(t)
			const processes, callers = 2, 10
			fleet := fleettest.Start(t, "herd", processes, herdParams{who.name, server.Addr, callers, 50 * time.Millisecond, 1})
			fleet.AwaitReady()
			created := len(fleet.Events("created"))
			fleet.Send("go")
			values := map[string]int{}
			for _, p := range fleet.Workers {
				var report herdReport
				p.Report(&report)
				for value, n := range report.Values {
					values[value] += n
				}
				for text := range report.Errors {
					t.Error(text)
				}
			}
			fleet.Wait()
			want := 1
			if !who.locks {
				want = processes
			}
			if creations := len(fleet.Events("created")) - created; creations != want || len(values) != want {
				t.Errorf("%d creations, and values %v; want %d", creations, values, want)
			}
		})
	}
}
