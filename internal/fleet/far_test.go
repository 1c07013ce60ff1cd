package fleet_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// oneWay is how long bytes take to a process that is far from the server.
const oneWay = 50 * time.Millisecond

// far is a member that is far from the server, and one that is near and waits for what
// the other has.
type far struct {
	*detour
	server   *redistest.Server
	holder   *fleet.Member
	lease    *fleet.Lease
	commands *faultproxy.Proxy // of the one who waits
	result   <-chan error
	heard    *probes
}

func newFar(t *testing.T) *far {
	t.Helper()
	f := &far{server: redistest.Start(t)}
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	f.commands = faultproxy.New(t, f.server.Addr)
	opt := f.server.Options()
	opt.Addr = f.commands.Addr
	near := join(t, clientOf(t, opt), cfg)
	f.detour = newDetour(t, f.server, f.server.Options())
	f.Delay(oneWay)
	f.on.Store(true) // commands as well
	f.holder = join(t, f.client, cfg)
	f.lease = take(t, f.holder, cfg.Prefix+"{k}")
	f.heard = watchProbes(t, f.server, cfg.Prefix)
	f.result = wait(t, near, f.lease.Lock())
	f.heard.await(4) // a connection that has lived for a second is made again at once
	stillWaiting(t, f.result)
	return f
}

// missed cuts the connections of the holder and has the other one look for it.
func (f *far) missed(t *testing.T) {
	t.Helper()
	f.CutAll()
	eventually(t, "the server has noticed", func() bool { return !f.seen(t) })
	f.server.Do(t, "PUBLISH", f.holder.FleetChannel(), "!"+fleet.DeadToken()[:len(f.holder.Process())])
}

// seen reports whether the server sees the holder.
func (f *far) seen(t *testing.T) bool {
	t.Helper()
	return f.server.Do(t, "PUBSUB", "NUMSUB", f.holder.AliveChannel()).([]any)[1] == int64(1)
}

// evictions returns how often the one who waits tried to take the lock away.
func (f *far) evictions() (n int) {
	for _, request := range f.commands.Requests() {
		if bytes.Contains(request, []byte(f.lease.Token())) {
			n++
		}
	}
	return n
}

// A holder who is far away, and whose connection takes long to be made again, keeps its
// lock.
func TestFarHolderComesBack(t *testing.T) {
	t.Parallel()
	f := newFar(t)
	began := time.Now()
	f.missed(t)
	eventually(t, "the holder is back", func() bool { return f.seen(t) })
	t.Logf("the holder was back after %v", time.Since(began))
	eventually(t, "somebody has tried to take the lock away", func() bool { return f.evictions() > 0 })
	f.heard.await(3)
	stillWaiting(t, f.result)
	holds(t, f.server, f.lease)
	if isLost(f.lease) {
		t.Error("the lease is lost, want it to be held: its holder lives")
	}
}

// One who is far away and does not come back loses it.
func TestFarHolderStaysAway(t *testing.T) {
	t.Parallel()
	f := newFar(t)
	f.Blackhole(true) // new connections are accepted, and nothing passes
	began := time.Now()
	f.CutAll()
	took := woken(t, f.result, began)
	t.Logf("woken %v after the holder was cut off", took)
	if took > 2*soon {
		t.Errorf("woken %v after the holder was cut off, want a second and a half", took)
	}
}

// Those who are far away are waited for longer than those who are near.
func TestPatience(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	for trip, want := range map[time.Duration]time.Duration{
		time.Millisecond: 110 * time.Millisecond,
		2 * oneWay:       880 * time.Millisecond,
	} {
		lock := m.Prefix + "{" + trip.String() + "}"
		server.Do(t, "SET", lock, fleet.DeadTokenOf(trip), "PX", "60000")
		began := time.Now()
		took := woken(t, wait(t, m, lock), began)
		t.Logf("a holder %v away was given up after %v", trip, took)
		if took < want || took > want+soon {
			t.Errorf("a holder %v away was given up after %v, want it to be looked for twice with %v in between", trip, took, want)
		}
	}
	// A token that tells nothing, or nonsense, is that of one who is near.
	for _, digit := range []string{"9", "z", " ", "/"} {
		token := fleet.DeadToken()
		token = token[:17] + digit + token[18:]
		lock := m.Prefix + "{" + digit + "}"
		server.Do(t, "SET", lock, token, "PX", "60000")
		began := time.Now()
		if took := woken(t, wait(t, m, lock), began); took > soon {
			t.Errorf("the digit %q: the lock was free after %v, want half a second", digit, took)
		}
	}
}

// A member waits before its first lease until it is known whether it can be seen to be
// alive, for a second at most, and not longer than its ctx.
func TestSettle(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	d := newDetour(t, server, server.Options())
	d.on.Store(true)
	d.gate <- struct{}{} // nothing connects
	m := attend(t, d.client, fleet.Config{Prefix: redistest.Prefix(t)})
	joined := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	m.Settle(ctx)
	if ctx.Err() == nil {
		t.Error("Settle returned before its ctx ended, want it to wait: nothing is known yet")
	}
	settled := make(chan struct{})
	go func() {
		m.Settle(context.Background())
		close(settled)
	}()
	select {
	case <-settled:
		t.Errorf("Settle returned after %v, want it to wait: nothing is known yet", time.Since(joined))
	case <-time.After(200 * time.Millisecond): // less than it waits at most
	}
	<-d.gate
	<-settled
	if l := take(t, m, m.Prefix+"{k}"); l.Token()[16] != '+' {
		t.Errorf("the token of the first lease is %s, want one whose process can be seen to be alive", l.Token())
	}

	d.gate <- struct{}{}
	m = attend(t, d.client, fleet.Config{Prefix: redistest.Prefix(t)})
	joined = time.Now()
	m.Settle(context.Background())
	if took := time.Since(joined); took < 500*time.Millisecond || took > soon {
		t.Errorf("Settle returned after %v, want a second: nothing connects", took)
	}
	again := time.Now()
	m.Settle(context.Background())
	if took := time.Since(again); took > 500*time.Millisecond {
		t.Errorf("the second Settle took %v, want none: a second has passed since Join", took)
	}
	<-d.gate
}
