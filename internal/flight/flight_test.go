package flight_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/internal/flight"
)

// lead starts the flight of key and fails if there is one.
func lead(t *testing.T, g *flight.Group[string], key string) flight.Ticket[string] {
	t.Helper()
	ticket, leads := g.Join(key, g.Arrive())
	if !leads {
		t.Fatalf("there is a flight of %q already", key)
	}
	return ticket
}

// join joins the flight of key and fails if there is none.
func join(t *testing.T, g *flight.Group[string], key string) flight.Ticket[string] {
	t.Helper()
	ticket, leads := g.Join(key, g.Arrive())
	if leads {
		t.Fatalf("there was no flight of %q to join", key)
	}
	return ticket
}

// gets checks what a ticket gets of a flight that has ended.
func gets(t *testing.T, who string, ticket flight.Ticket[string], want string, wantErr error) {
	t.Helper()
	got, _, err := ticket.Wait(t.Context())
	if got != want || !errors.Is(err, wantErr) {
		t.Errorf("%s got %q, %v; want %q, %v", who, got, err, want, wantErr)
	}
}

func TestEveryoneWhoWasCoveredGetsTheResult(t *testing.T) {
	var g flight.Group[string]
	leader := lead(t, &g, "k")
	early := join(t, &g, "k")
	leader.Flight().Cover()
	late := join(t, &g, "k")
	leader.Flight().Seal()
	leader.Flight().Finish("v", false, nil)

	gets(t, "the leader", leader, "v", nil)
	gets(t, "a caller from before the evidence", early, "v", nil)
	gets(t, "a caller from after it", late, "", flight.ErrStartOver)
}

func TestWhoCameBeforeTheEvidenceMayJoinAfterIt(t *testing.T) {
	var g flight.Group[string]
	leader := lead(t, &g, "k")
	came := g.Arrive()
	leader.Flight().Cover()
	joined, _ := g.Join("k", came)
	leader.Flight().Finish("v", false, nil)
	gets(t, "a caller who was still looking", joined, "v", nil)
}

func TestProofGivesTheResultToLateCallersToo(t *testing.T) {
	var g flight.Group[string]
	leader := lead(t, &g, "k")
	leader.Flight().Cover()
	late := join(t, &g, "k")
	leader.Flight().Finish("v", true, nil)

	got, early, err := late.Wait(t.Context())
	if got != "v" || early || err != nil {
		t.Errorf("got %q, early=%v, %v; want v, late, no error", got, early, err)
	}
	_, early, _ = leader.Wait(t.Context())
	if !early {
		t.Error("the leader counts as late")
	}
}

func TestAnErrorGoesToAll(t *testing.T) {
	var g flight.Group[string]
	failure := errors.New("failure")
	leader := lead(t, &g, "k")
	leader.Flight().Cover()
	late := join(t, &g, "k")
	leader.Flight().Finish("", false, failure)
	gets(t, "the leader", leader, "", failure)
	gets(t, "a late caller", late, "", failure)
}

func TestNobodyJoinsAfterSealFinishOrVoid(t *testing.T) {
	for name, end := range map[string]func(*flight.Group[string], *flight.Flight[string]){
		"Seal":    func(_ *flight.Group[string], f *flight.Flight[string]) { f.Seal() },
		"Finish":  func(_ *flight.Group[string], f *flight.Flight[string]) { f.Finish("", true, nil) },
		"Void":    func(g *flight.Group[string], _ *flight.Flight[string]) { g.Void("other", "k") },
		"VoidAll": func(g *flight.Group[string], _ *flight.Flight[string]) { g.VoidAll() },
	} {
		t.Run(name, func(t *testing.T) {
			var g flight.Group[string]
			old := lead(t, &g, "k")
			end(&g, old.Flight())
			successor := lead(t, &g, "k")

			// The end of the old flight leaves the new one alone.
			old.Flight().Finish("old", true, nil)
			join(t, &g, "k")
			successor.Flight().Finish("new", true, nil)
			gets(t, "the successor's leader", successor, "new", nil)
		})
	}
}

func TestVoidLetsThoseWhoHaveJoinedHaveTheResult(t *testing.T) {
	var g flight.Group[string]
	leader := lead(t, &g, "k")
	member := join(t, &g, "k")
	leader.Flight().Cover()
	g.Void("k")
	leader.Flight().Finish("v", false, nil)
	gets(t, "a member", member, "v", nil)
}

func TestLeadRefusesASecondFlight(t *testing.T) {
	var g flight.Group[string]
	if _, leads := g.Lead("k", g.Arrive()); !leads {
		t.Fatal("the first Lead does not lead")
	}
	if _, leads := g.Lead("k", g.Arrive()); leads {
		t.Fatal("the second Lead leads")
	}
	if _, leads := g.Lead("other", g.Arrive()); !leads {
		t.Fatal("keys are not independent")
	}
}

func TestEachWaiterObeysItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string]
		leader := lead(t, &g, "k")
		abandoned := false
		leader.Flight().OnAbandon(func() { abandoned = true })
		impatient := join(t, &g, "k")
		leader.Flight().Cover()

		cause := errors.New("the client hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		left := make(chan error)
		go func() {
			_, _, err := impatient.Wait(ctx)
			left <- err
		}()
		synctest.Wait()
		cancel(cause)
		if err := <-left; !errors.Is(err, cause) {
			t.Errorf("the one who left got %v, want the cause of its context", err)
		}
		if abandoned {
			t.Error("the flight is abandoned though its leader waits")
		}
		leader.Flight().Finish("v", false, nil)
		gets(t, "the leader", leader, "v", nil)
	})
}

func TestTheLastWaiterAbandonsTheFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string]
		ctx, cancel := context.WithCancel(t.Context())
		leader := lead(t, &g, "k")
		calls := 0
		leader.Flight().OnAbandon(func() { calls++ })
		for _, ticket := range []flight.Ticket[string]{leader, join(t, &g, "k"), join(t, &g, "k")} {
			go ticket.Wait(ctx)
		}
		synctest.Wait()
		if calls != 0 {
			t.Fatal("abandoned while somebody waits")
		}
		cancel()
		synctest.Wait()
		if calls != 1 {
			t.Fatalf("abandon was called %d times, want once", calls)
		}
		if g.Len() != 0 {
			t.Error("an abandoned flight can be joined")
		}
		if leader.Flight().Finish("v", true, nil) {
			t.Error("Finish says that somebody heard it")
		}
	})
}

func TestAFinishedFlightIsNotAbandoned(t *testing.T) {
	var g flight.Group[string]
	leader := lead(t, &g, "k")
	leader.Flight().OnAbandon(func() { t.Error("abandoned after Finish") })
	if !leader.Flight().Finish("v", true, nil) {
		t.Error("Finish says that nobody heard it")
	}
	if leader.Flight().Finish("w", true, nil) {
		t.Error("a second Finish counts")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// The result is there: an ended context does not hide it.
	if got, _, err := leader.Wait(ctx); got != "v" || err != nil {
		t.Errorf("got %q, %v; want v", got, err)
	}
}

func TestManyFlightsLeaveNoMemory(t *testing.T) {
	var g flight.Group[string]
	var flights []*flight.Flight[string]
	for i := range 5000 {
		flights = append(flights, lead(t, &g, fmt.Sprint(i)).Flight())
	}
	if g.Len() != 5000 {
		t.Fatalf("%d flights, want 5000", g.Len())
	}
	for _, f := range flights {
		f.Finish("", true, nil)
	}
	if g.Len() != 0 || g.Holds() {
		t.Errorf("%d flights remain, or their map does", g.Len())
	}
}

func TestFollow(t *testing.T) {
	var g flight.Group[string]
	if _, ok := g.Follow("k", g.Arrive(), "kind"); ok {
		t.Error("followed a flight that does not exist")
	}
	leader, _ := g.Join("k", g.Arrive())
	if _, ok := g.Follow("k", g.Arrive(), "kind"); ok {
		t.Error("followed a flight that is open to nobody")
	}
	if _, ok := g.Follow("k", g.Arrive(), nil); ok {
		t.Error("followed a flight that is open to nobody, as a caller of no kind")
	}
	leader.Flight().Open("kind")
	if _, ok := g.Follow("k", g.Arrive(), "another kind"); ok {
		t.Error("followed a flight that is open to another kind of callers")
	}
	early, ok := g.Follow("k", g.Arrive(), "kind")
	if !ok {
		t.Fatal("could not follow a flight that is open")
	}
	leader.Flight().Cover()
	late, _ := g.Follow("k", g.Arrive(), "kind")
	leader.Flight().Finish("value", false, nil)
	if v, covered, err := early.Wait(t.Context()); v != "value" || !covered || err != nil {
		t.Errorf("who followed before the evidence got %q, %v, %v", v, covered, err)
	}
	if _, _, err := late.Wait(t.Context()); !errors.Is(err, flight.ErrStartOver) {
		t.Errorf("who followed after the evidence got %v, want ErrStartOver", err)
	}
	if _, ok := g.Follow("k", g.Arrive(), "kind"); ok {
		t.Error("followed a flight that has finished")
	}
}

func TestWhoFollowsStartsOverWhenTheFlightIsShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string]
		leader := lead(t, &g, "k")
		leader.Flight().Open("kind")
		follower, ok := g.Follow("k", g.Arrive(), "kind")
		if !ok {
			t.Fatal("could not follow a flight that is open")
		}
		joined := join(t, &g, "k")
		over := make(chan error, 1)
		go func() {
			_, _, err := follower.Wait(t.Context())
			over <- err
		}()
		synctest.Wait()
		if len(over) > 0 {
			t.Fatal("who follows does not wait")
		}
		leader.Flight().Shut()
		leader.Flight().Shut()
		if err := <-over; !errors.Is(err, flight.ErrStartOver) {
			t.Errorf("who follows got %v, want ErrStartOver", err)
		}
		if _, ok := g.Follow("k", g.Arrive(), "kind"); ok {
			t.Error("followed a flight that was shut")
		}
		leader.Flight().Cover()
		leader.Flight().Finish("v", true, nil)
		gets(t, "the leader", leader, "v", nil)
		gets(t, "who has looked and joined", joined, "v", nil)
	})
}
