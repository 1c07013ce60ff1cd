package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redisio"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// probes is what the members of a fleet publish.
type probes struct {
	t    testing.TB
	list <-chan *redis.Message
}

// probe is one probe.
type probe struct {
	process string
	at      time.Time
}

// watchProbes listens to the fleet.
func watchProbes(t testing.TB, server *redistest.Server, prefix string) *probes {
	t.Helper()
	ps := server.Client(t).Subscribe(t.Context(), prefix+"fleet")
	if _, err := ps.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ps.Close() })
	return &probes{t, ps.Channel(redis.WithChannelSize(10_000))}
}

// await returns the next n probes.
func (p *probes) await(n int) (list []probe) {
	p.t.Helper()
	late := time.After(patience)
	for len(list) < n {
		select {
		case message := <-p.list:
			if process, ok := strings.CutPrefix(message.Payload, "?"); ok {
				list = append(list, probe{process, time.Now()})
			}
		case <-late:
			p.t.Fatalf("%d probes within %v, want %d", len(list), patience, n)
		}
	}
	return list
}

// holderParams are what a holder is told.
type holderParams struct {
	Addr   string
	Prefix string
}

func (p holderParams) lockOf(index int) string {
	return p.Prefix + "{" + string(rune('a'+index)) + "}"
}

// holder is a process that holds a lock until it is told to end.
func holder(w *fleettest.Worker) error {
	var params holderParams
	if err := w.Params(&params); err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: params.Addr, ContextTimeoutEnabled: true})
	defer func() { _ = client.Close() }()
	c, err := redisio.New(client)
	if err != nil {
		return err
	}
	m := fleet.Join(fleet.Config{Client: c, Prefix: params.Prefix, TTL: longTTL, Closed: errClosed, Logger: discard})
	m.Settle(context.Background())
	l := m.Ask(context.Background(), "k", params.lockOf(w.Index))
	if got, err := client.SetNX(context.Background(), l.Lock(), l.Token(), longTTL).Result(); err != nil || !got || !l.Granted() {
		return fmt.Errorf("the lock is not granted: %v", err)
	}
	w.Ready()
	w.Await("end")
	m.Close()
	return nil
}

// The locks of a process that was killed are free soon, however many wait.
func TestTakeover(t *testing.T) {
	server := redistest.Start(t)
	for _, waiting := range []int{1, 2, 7} {
		t.Run(fmt.Sprint(waiting), func(t *testing.T) {
			rounds := 2
			if waiting == 1 {
				rounds = 4
			}
			cfg := fleet.Config{Prefix: redistest.Prefix(t)}
			params := holderParams{server.Addr, cfg.Prefix}
			holders := fleettest.Start(t, "holder", rounds, params)
			members := make([]*fleet.Member, waiting)
			for i := range members {
				members[i] = join(t, server.Client(t), cfg)
			}
			heard := watchProbes(t, server, cfg.Prefix)
			holders.AwaitReady()
			fastest := time.Duration(math.MaxInt64)
			for i, process := range holders.Workers {
				lock := params.lockOf(i)
				results := make([]<-chan error, waiting)
				for i, m := range members {
					results[i] = wait(t, m, lock)
				}
				heard.await(4) // the fleet has come into its rhythm
				for _, result := range results {
					stillWaiting(t, result)
				}
				killed := time.Now()
				process.Kill()
				for _, result := range results {
					took := woken(t, result, killed)
					if took > 2*soon {
						t.Errorf("woken %v after the holder was killed, want half a second", took)
					}
					fastest = min(fastest, took)
				}
			}
			t.Logf("woken %v after the kill at best", fastest)
			if fastest > 500*time.Millisecond {
				t.Errorf("woken %v after the kill at best, want less than 500 ms", fastest)
			}
		})
	}
}

// A process that ends in order leaves nothing to be taken over.
func TestCleanExit(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	params := holderParams{server.Addr, cfg.Prefix}
	holders := fleettest.Start(t, "holder", 1, params)
	m := join(t, server.Client(t), cfg)
	holders.AwaitReady()
	result := wait(t, m, params.lockOf(0))
	stillWaiting(t, result)
	began := time.Now()
	holders.Send("end")
	if took := woken(t, result, began); took > soon {
		t.Errorf("woken %v after the holder was told to end, want at once", took)
	}
	holders.Wait()
}

// A holder who cannot be seen to be alive keeps its lock, and so does one who can, while
// those who wait probe.
func TestNoTakeover(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	m, other := join(t, server.Client(t), cfg), join(t, server.Client(t), cfg)
	heard := watchProbes(t, server, cfg.Prefix)
	alive := take(t, other, cfg.Prefix+"{alive}")
	tokens := map[string]string{
		"{invisible}":  strings.Replace(fleet.DeadToken(), "+", "-", 1),
		"{stranger}":   stranger,
		"{too long}":   fleet.DeadToken() + "0",
		"{no process}": strings.Repeat("+", 5),
	}
	results := []<-chan error{wait(t, m, alive.Lock())}
	for name, token := range tokens {
		server.Do(t, "SET", cfg.Prefix+name, token, "PX", "60000")
		results = append(results, wait(t, m, cfg.Prefix+name))
	}
	heard.await(5)
	for _, result := range results {
		stillWaiting(t, result)
	}
	holds(t, server, alive)
	for name, token := range tokens {
		if got := server.Do(t, "GET", cfg.Prefix+name); got != token {
			t.Errorf("the lock %s holds %v, want %s, which names nobody who can be seen to be dead", name, got, token)
		}
	}

	// While the lock of one that is dead is taken away.
	lock := cfg.Prefix + "{dead}"
	server.Do(t, "SET", lock, fleet.DeadToken(), "PX", "60000")
	began := time.Now()
	if took := woken(t, wait(t, m, lock), began); took > soon {
		t.Errorf("the lock of a dead process was free after %v, want half a second", took)
	}
}

// A holder whose connection breaks just when somebody looks for it, and is back at once,
// keeps its lock.
func TestHolderComesBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	commands := faultproxy.New(t, server.Addr)
	opt := server.Options()
	opt.Addr = commands.Addr
	m := join(t, clientOf(t, opt), cfg)
	d := newDetour(t, server, server.Options())
	held := d.join(t, cfg)
	lock := cfg.Prefix + "{k}"
	l := take(t, held, lock)
	d.on.Store(true)
	// A connection that has lived for a second is made again at once.
	heard := watchProbes(t, server, cfg.Prefix)
	result := wait(t, m, lock)
	heard.await(4)

	numsub := func() any { return server.Do(t, "PUBSUB", "NUMSUB", held.AliveChannel()).([]any)[1] }
	var once sync.Once
	asked, asking := make(chan struct{}), int64(0)
	commands.OnRequest(func(request []byte) {
		if bytes.Contains(request, []byte(held.AliveChannel())) && !bytes.Contains(request, []byte(l.Token())) {
			once.Do(func() {
				d.gate <- struct{}{}
				d.CutAll()
				for numsub() != int64(0) {
					time.Sleep(time.Millisecond)
				}
				asking = server.CommandsByName(t)["pubsub|numsub"]
				close(asked)
			})
		}
	})
	// What makes the member look for the holder is that one is missing.
	server.Do(t, "PUBLISH", held.FleetChannel(), "!"+fleet.DeadToken()[:len(held.Process())])
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatalf("nobody looked for the holder within %v", patience)
	}
	gone := time.Now()
	eventually(t, "it is found dead", func() bool { return server.CommandsByName(t)["pubsub|numsub"] > asking })
	<-d.gate
	eventually(t, "the holder is back", func() bool { return held.Tracking() && numsub() == int64(1) })
	t.Logf("the holder was back after %v", time.Since(gone))
	stillWaiting(t, result)
	heard.await(5)
	stillWaiting(t, result)
	holds(t, server, l)
	if isLost(l) {
		t.Error("the lease is lost, want it to be kept: its holder was back in time")
	}
	evictions := 0
	for _, request := range commands.Requests() {
		if bytes.Contains(request, []byte(l.Token())) {
			evictions++
		}
	}
	if evictions == 0 {
		t.Error("nobody tried to take the lock away, so this test shows nothing")
	}
}

// Those who wait take turns in probing: each seldom, the fleet often.
func TestProbesTakeTurns(t *testing.T) {
	for _, members := range []int{3, 7} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			t.Parallel()
			testProbes(t, members)
		})
	}
}

func testProbes(t *testing.T, members int) {
	server := redistest.Start(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	l := take(t, join(t, server.Client(t), cfg), cfg.Prefix+"{k}")
	for range members {
		wait(t, join(t, server.Client(t), cfg), l.Lock())
	}
	heard := watchProbes(t, server, cfg.Prefix)
	heard.await(2 * members) // they have come into their rhythm
	list := heard.await(24)
	of := map[string]int{}
	var gaps []time.Duration
	for i, p := range list {
		of[p.process]++
		if i > 0 {
			gaps = append(gaps, p.at.Sub(list[i-1].at))
		}
	}
	span := list[len(list)-1].at.Sub(list[0].at)
	for process, n := range of {
		if most := 3*span.Seconds()/2 + 1; float64(n) > most {
			t.Errorf("%s has probed %d times in %v, want 3 times in 2 s", process, n, span)
		}
	}
	slices.Sort(gaps)
	t.Logf("from probe to probe: %v to %v, half of them within %v; %d of %d members have probed", gaps[0], gaps[len(gaps)-1], gaps[len(gaps)/2], len(of), members)
	if half, most := gaps[len(gaps)/2], gaps[len(gaps)-1]; half > 400*time.Millisecond || most > soon {
		t.Errorf("%v from probe to probe, and %v at worst, want 400 ms", half, most)
	}
	if half := gaps[len(gaps)/2]; half < 200*time.Millisecond {
		t.Errorf("%v from probe to probe, want the others to be put off by each", half)
	}
	if len(of) < 3 {
		t.Errorf("%d members have probed, want them to take turns", len(of))
	}
}

// Nobody probes who waits for nobody.
func TestNoProbesWithoutRivals(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	m := join(t, server.Client(t), cfg)
	lock := cfg.Prefix + "{k}"
	l := take(t, m, lock)
	result := wait(t, m, lock) // of one's own
	before := server.CommandsByName(t)["publish"]
	time.Sleep(time.Second) // the span that is counted
	if n := server.CommandsByName(t)["publish"] - before; n > 0 {
		t.Errorf("%d probes for a lease of one's own, want none", n)
	}
	_ = l.Release(t.Context())
	woken(t, result, time.Now())
}
