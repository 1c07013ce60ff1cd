package redis_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/pythontest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// view is a view of a shared server, and the backend it is of.
type view struct {
	backend.Backend
	t      *testing.T
	owner  backend.Backend
	server *redistest.Server
	layout codec.Layout
}

// openView opens a view on the server, which is reached at addr.
func openView(t *testing.T, server *redistest.Server, addr string, layout codec.Layout, options string) view {
	t.Helper()
	b, err := backend.Open("redis://" + addr + "?prefix=" + space() + options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	shared, err := b.(backend.Sharer).Share(layout)
	if err != nil {
		t.Fatal(err)
	}
	v := view{shared, t, b, server, layout}
	// The scripts are known to the server.
	key := "warm up" + layout.LockPrefix
	v.publish(v.acquire(key), key, "warm up")
	v.set(key, "warm up")
	v.delete(key)
	return v
}

// newView opens a view of its own layout.
func newView(t *testing.T, layout codec.Layout, options string) view {
	t.Helper()
	server := redistest.Shared(t)
	layout.LockPrefix = "_lock" + space() + ":"
	return openView(t, server, server.Addr, layout, options)
}

// another opens another view of the same layout, as another process would have it.
func (v view) another(addr, options string) view {
	v.t.Helper()
	return openView(v.t, v.server, addr, v.layout, options)
}

func keyOf(name string) backend.Key { return backend.Key{Region: "any", Name: name} }

func (v view) lock(name string) string { return v.layout.LockPrefix + name }

// try acquires the lease of name and returns what was answered.
func (v view) try(name string) backend.Grant {
	v.t.Helper()
	grants, stamps, err := v.Acquire(v.t.Context(), []backend.Key{keyOf(name)}, []backend.Guard{{Region: "any"}})
	if err != nil || stamps != nil {
		v.t.Fatalf("Acquire of %q = stamps %v, %v; want nil, nil", name, stamps, err)
	}
	return grants[0]
}

func (v view) acquire(name string) backend.Grant {
	v.t.Helper()
	g := v.try(name)
	if g.Lease == nil {
		v.t.Fatalf("the lease of %q was refused", name)
	}
	return g
}

func (v view) refused(name string) {
	v.t.Helper()
	if g := v.try(name); g.Lease != nil {
		v.t.Fatalf("the lease of %q was granted, want it refused", name)
	}
}

// await acquires the lease of name, as a region does: it waits while it is refused.
func (v view) await(ctx context.Context, name string) (backend.Grant, error) {
	for {
		grants, _, err := v.Acquire(ctx, []backend.Key{keyOf(name)}, nil)
		if err != nil || grants[0].Lease != nil {
			return append(grants, backend.Grant{})[0], err
		}
		if err := v.Wait(ctx, []backend.Key{keyOf(name)}); err != nil {
			return backend.Grant{}, err
		}
	}
}

func (v view) store(item backend.Item) error {
	items := []backend.Item{item}
	stamps, err := v.Set(v.t.Context(), items, []backend.Guard{{Region: "any"}})
	if stamps != nil {
		v.t.Errorf("Set returned stamps %v, want none", stamps)
	}
	return errors.Join(err, items[0].Err)
}

func (v view) put(name, value string) error {
	return v.store(backend.Item{Key: keyOf(name), Entry: &backend.Entry{Data: []byte(value)}, TTL: time.Hour})
}

func (v view) set(name, value string) {
	v.t.Helper()
	if err := v.put(name, value); err != nil {
		v.t.Fatalf("Set of %q = %v", name, err)
	}
}

func (v view) publication(g backend.Grant, name, value string) error {
	return v.store(backend.Item{Key: keyOf(name), Entry: &backend.Entry{Data: []byte(value)}, TTL: time.Hour, Lease: g.Lease})
}

func (v view) publish(g backend.Grant, name, value string) {
	v.t.Helper()
	if err := v.publication(g, name, value); err != nil {
		v.t.Fatalf("Set of %q under a lease = %v", name, err)
	}
}

func (v view) delete(names ...string) {
	v.t.Helper()
	var keys []backend.Key
	for _, name := range names {
		keys = append(keys, keyOf(name))
	}
	if err := v.Delete(v.t.Context(), keys); err != nil {
		v.t.Fatalf("Delete = %v", err)
	}
}

// finds checks what Get and GetMulti return: nothing if want is empty.
func (v view) finds(name, want string) {
	v.t.Helper()
	found, err := v.Get(v.t.Context(), keyOf(name), []backend.Guard{{Region: "any"}})
	if err != nil || found.Stamps != nil {
		v.t.Fatalf("Get of %q = stamps %v, %v; want nil, nil", name, found.Stamps, err)
	}
	entries, stamps, err := v.GetMulti(v.t.Context(), []backend.Key{keyOf(name)}, []backend.Guard{{Region: "any"}})
	if err != nil || stamps != nil || len(entries) != 1 {
		v.t.Fatalf("GetMulti of %q = %d entries, stamps %v, %v; want 1, nil, nil", name, len(entries), stamps, err)
	}
	for _, e := range []*backend.Entry{found.Entry, entries[0]} {
		got := ""
		if e != nil {
			got = string(e.Data)
		}
		if got != want || (e == nil) != (want == "") {
			v.t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// holds checks what the lock of name is on the server: nil for a free one.
func (v view) holds(name string, want any) {
	v.t.Helper()
	if got := v.server.Do(v.t, "GET", v.lock(name)); got != want {
		v.t.Errorf("the lock of %q is %v, want %v", name, got, want)
	}
}

// foreign takes the lock of name as another program would, without a TTL if that is zero.
func (v view) foreign(name string, ttl time.Duration) (token string) {
	v.t.Helper()
	token = fmt.Sprintf("%032x", spaces.Add(1))
	args := []any{"SET", v.lock(name), token, "NX"}
	if ttl > 0 {
		args = append(args, "PX", ttl.Milliseconds())
	}
	if v.server.Do(v.t, args...) != "OK" {
		v.t.Fatalf("the lock of %q is not free", name)
	}
	return token
}

// python is a process with redis-py and dogpile.cache.
type python struct {
	t       *testing.T
	in      *json.Encoder
	out     *bufio.Reader
	process *os.Process
	wait    func()
}

// startPython starts testdata/lock.py, whose locks expire after timeout, or never.
func startPython(t *testing.T, server *redistest.Server, lockPrefix string, timeout time.Duration) *python {
	t.Helper()
	host, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pythontest.Interpreter(t), "-B", "testdata/lock.py", host, port, lockPrefix, fmt.Sprint(timeout.Seconds()))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said := new(strings.Builder)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &python{t: t, in: json.NewEncoder(in), out: bufio.NewReader(out), process: cmd.Process}
	ended := false
	p.wait = func() {
		if !ended {
			ended = true
			_ = cmd.Wait() // killed, or told to end by the end of its input
		}
	}
	t.Cleanup(func() {
		_ = in.Close()
		p.kill()
		if t.Failed() && said.Len() > 0 {
			t.Logf("Python said:\n%s", said)
		}
	})
	if got := p.answer(); got != "ready" {
		t.Fatalf("Python says %v, want ready", got)
	}
	return p
}

// ask sends a command whose answer is fetched later.
func (p *python) ask(words ...string) {
	p.t.Helper()
	if err := p.in.Encode(words); err != nil {
		p.t.Fatal(err)
	}
}

func (p *python) answer() (answer any) {
	p.t.Helper()
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err != nil {
		p.t.Fatalf("Python does not answer: %v", err)
	}
	return answer
}

func (p *python) do(words ...string) any {
	p.t.Helper()
	p.ask(words...)
	return p.answer()
}

// kill ends the process with SIGKILL.
func (p *python) kill() {
	_ = p.process.Kill() // it may have ended
	p.wait()
}
