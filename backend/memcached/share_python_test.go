package memcached_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/internal/pythontest"
)

// peer is a program in Python that uses the server.
type peer struct {
	testing.TB
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

// order is what a peer is told, and answer what it says.
type (
	order struct {
		Op    string  `json:"op"`
		Key   string  `json:"key"`
		Value any     `json:"value,omitempty"`
		Takes float64 `json:"takes,omitempty"`
	}
	answer struct {
		Ready    bool
		Creating string
		Answer   any
	}
)

// newPeer starts a peer whose locks have a timeout in seconds.
func newPeer(t testing.TB, server *memcachedtest.Server, lockTimeout int) *peer {
	t.Helper()
	p := &peer{TB: t, cmd: exec.Command(pythontest.Interpreter(t), "-B", "testdata/peer.py", server.Addr, fmt.Sprint(lockTimeout))}
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.in, p.out = in, bufio.NewReader(out)
	if !p.next().Ready {
		t.Fatal("the program in Python does not begin")
	}
	return p
}

func (p *peer) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// next returns what the peer says next.
func (p *peer) next() answer {
	p.Helper()
	line, err := p.out.ReadBytes('\n')
	var a answer
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		p.Fatalf("the program in Python says %q: %v", line, err)
	}
	return a
}

func (p *peer) tell(o order) {
	p.Helper()
	line, err := json.Marshal(o)
	if err == nil {
		_, err = p.in.Write(append(line, '\n'))
	}
	if err != nil {
		p.Fatal(err)
	}
}

// ask tells the peer what to do and returns what comes of it.
func (p *peer) ask(op string, key backend.Key, value ...any) any {
	p.Helper()
	o := order{Op: op, Key: key.Name}
	if len(value) > 0 {
		o.Value = value[0]
	}
	p.tell(o)
	for {
		if a := p.next(); a.Creating == "" {
			return a.Answer
		}
	}
}

// stored is a value as dogpile.cache stores it.
func stored(text string) *backend.Entry {
	return entry(fmt.Sprintf(`{"ct": %d, "v": 2}|%q`, time.Now().Unix(), text))
}

func TestSharePythonAgrees(t *testing.T) {
	t.Parallel()
	server, view, key := shared(t, python)
	p := newPeer(t, server, 0)
	expect := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	expect("get before anything is there", p.ask("get", key), nil)
	if err := putOne(t, view, backend.Item{Key: key, Entry: stored("set here")}); err != nil {
		t.Fatal(err)
	}
	expect("get of what was set here", p.ask("get", key), "set here")
	expect("get_or_create of what was set here", p.ask("create", key, "made"), "set here")
	p.ask("set", key, "set there")
	if got := dataOf(t, view, key); !strings.HasPrefix(got, `{"ct": `) || !strings.HasSuffix(got, `|"set there"`) {
		t.Errorf("what was set there reads as %q", got)
	}
	p.ask("delete", key)
	expect("what was deleted there", dataOf(t, view, key), "")

	lease := leaseOf(t, view, key).Lease
	expect("key_is_locked while it is locked here", p.ask("is locked", key), true)
	expect("acquire while it is locked here", p.ask("lock", key), false)
	p.tell(order{Op: "create", Key: key.Name, Value: "made there"})
	time.Sleep(100 * time.Millisecond) // it finds the lock, and looks again 0.4 s later
	if err := putOne(t, view, backend.Item{Key: key, Entry: stored("made here"), Lease: lease}); err != nil {
		t.Fatal(err)
	}
	expect("get_or_create of what was made here meanwhile", p.next().Answer, "made here")
	expect("key_is_locked afterwards", p.ask("is locked", key), false)

	expect("acquire there", p.ask("lock", key), true)
	if grant := tryLease(t, view, key); grant.Lease != nil {
		t.Error("the lease was granted although Python has the lock")
	}
	if err := putOne(t, view, backend.Item{Key: key, Entry: stored("newer")}); err != nil {
		t.Fatal(err)
	}
	expect("get of what was set under its lock", p.ask("get", key), "newer")
	if err := view.Delete(t.Context(), []backend.Key{key}); err != nil {
		t.Fatal(err)
	}
	expect("get of what was deleted under its lock", p.ask("get", key), nil)
	expect("key_is_locked after a Set and a Delete", p.ask("is locked", key), true)
	p.ask("unlock", key)
	leaseOf(t, view, key)

	// Who waits here for a creation there wakes when it is done.
	next := sharedKey()
	p.tell(order{Op: "create", Key: next.Name, Value: "made there", Takes: 0.3})
	if p.next().Creating != next.Name {
		t.Fatal("the creation does not begin")
	}
	if err := view.Wait(t.Context(), []backend.Key{next}); err != nil {
		t.Fatal(err)
	}
	if got := dataOf(t, view, next); !strings.HasSuffix(got, `|"made there"`) {
		t.Errorf("after the wait %q is stored", got)
	}
	p.next()
}

// A Delete ends a creation here, and Python sees it: it need not wait.
func TestSharePythonAfterDelete(t *testing.T) {
	t.Parallel()
	server, view, key := shared(t, python)
	p := newPeer(t, server, 0)
	lease := leaseOf(t, view, key).Lease
	if err := view.Delete(t.Context(), []backend.Key{key}); err != nil {
		t.Fatal(err)
	}
	if got := p.ask("create", key, "made there"); got != "made there" {
		t.Errorf("get_or_create = %v, want its own value at once", got)
	}
	_ = putOne(t, view, backend.Item{Key: key, Entry: stored("late"), Lease: lease})
	if got := p.ask("get", key); got != "made there" {
		t.Errorf("get = %v, want what was made after the Delete", got)
	}
}

// untilGranted waits for a lease and returns how long it took.
func untilGranted(t *testing.T, view backend.Backend, key backend.Key) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tryLease(t, view, key).Lease == nil {
		if err := view.Wait(ctx, []backend.Key{key}); err != nil {
			t.Fatalf("after %v Wait = %v, want the lock to be free", time.Since(began), err)
		}
	}
	return time.Since(began)
}

// A program in Python that is killed while it creates holds us up until its lock expires,
// or until it has been there for StealAfter.
func TestFaultSharePythonHolderIsKilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lockTimeout int
		stealAfter  time.Duration
		most        time.Duration
	}{{2, 0, 3 * time.Second}, {0, time.Second, 2 * time.Second}} {
		server, view, key := shared(t, codec.Layout{LockPrefix: "_lock", StealAfter: c.stealAfter})
		p := newPeer(t, server, c.lockTimeout)
		p.tell(order{Op: "create", Key: key.Name, Value: "never", Takes: 1000})
		p.next()
		p.kill()
		took := untilGranted(t, view, key)
		t.Logf("lock_timeout %d, StealAfter %v: the lease was granted after %v", c.lockTimeout, c.stealAfter, took)
		if took > c.most || took < c.stealAfter {
			t.Errorf("the lease was granted after %v, want %v at most and %v at least", took, c.most, c.stealAfter)
		}
	}
}

// lockHolder is the role of a process that takes a lease and keeps it.
func lockHolder(w *fleettest.Worker) error {
	var params struct{ Addr, Key string }
	if err := w.Params(&params); err != nil {
		return err
	}
	b := memcached.New(memcached.Config{Servers: []string{params.Addr}, LeaseTTL: 2 * time.Second})
	view, err := b.Share(python)
	if err != nil {
		return err
	}
	grants, _, err := view.Acquire(context.Background(), []backend.Key{{Name: params.Key}}, nil)
	if err != nil {
		return err
	}
	w.Report(grants[0].Lease != nil)
	w.Await("never")
	return nil
}

// A process that is killed while it creates holds up others, and Python, until its lease
// expires.
func TestFaultShareHolderIsKilled(t *testing.T) {
	t.Parallel()
	server, view, key := shared(t, python)
	p := newPeer(t, server, 0)
	fleet := fleettest.Start(t, "lock holder", 1, map[string]string{"Addr": server.Addr, "Key": key.Name})
	var held bool
	if fleet.Workers[0].Report(&held); !held {
		t.Fatal("the lease was not granted")
	}
	if p.ask("is locked", key) != true {
		t.Error("Python does not see the lock")
	}
	fleet.Workers[0].Kill()
	took := untilGranted(t, view, key)
	t.Logf("the lease was granted after %v", took)
	if took > 3*time.Second {
		t.Errorf("the lease was granted after %v, want the LeaseTTL of 2 s", took)
	}
}
