package memcached_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/region"
)

// holder relays to a server. While it is armed, cut says where in what a client sends
// together the rest has to wait for release; negative: nowhere.
type holder struct {
	addr    string
	armed   atomic.Bool
	held    chan struct{}
	release chan struct{}
}

func newHolder(t *testing.T, upstream string, cut func(sent []byte) int) *holder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	h := &holder{addr: l.Addr().String(), held: make(chan struct{}, 1), release: make(chan struct{})}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", upstream)
			if err != nil {
				client.Close()
				continue
			}
			go func() {
				defer client.Close()
				defer server.Close()
				_, _ = io.Copy(client, server)
			}()
			go func() {
				defer client.Close()
				defer server.Close()
				h.relay(client, server, cut)
			}()
		}
	}()
	return h
}

func (h *holder) relay(client io.Reader, server io.Writer, cut func([]byte) int) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		sent := buf[:n]
		if at := cut(sent); at >= 0 && h.armed.CompareAndSwap(true, false) {
			if _, err := server.Write(sent[:at]); err != nil {
				return
			}
			h.held <- struct{}{}
			<-h.release
			sent = sent[at:]
		}
		if _, err := server.Write(sent); err != nil {
			return
		}
	}
}

// atSwap cuts before the first swap, and afterFirstSet after the first of several sets.
func atSwap(sent []byte) int {
	if bytes.HasPrefix(sent, []byte("cas ")) {
		return 0
	}
	return -1
}

func afterFirstSet(sent []byte) int {
	if !bytes.HasPrefix(sent, []byte("set ")) {
		return -1
	}
	if at := bytes.Index(sent[4:], []byte("set ")); at > 0 {
		return 4 + at
	}
	return -1
}

// A soft renewal reads and swaps, and a creator adds the tag in between: at a time at which
// the tag has no stamps yet, or when they are being renewed by somebody else, so that the
// swap is refused. The value is not fresh any more when SoftTags has returned.
func TestSoftTagsDuringACreationThatAddsTheTag(t *testing.T) {
	for name, meets := range map[string]bool{"absent": false, "renewed by another": true} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			server := memcachedtest.Shared(t, 1)[0]
			prefix := space()
			on := func(addr string) *region.Region {
				b := open(t, memcached.Config{Servers: []string{addr}, Prefix: prefix, Timeout: 10 * time.Second})
				r, err := region.New("users", region.Config{Backend: b, Expiration: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { r.Close() })
				return r
			}
			swaps, sets := newHolder(t, server.Addr, atSwap), newHolder(t, server.Addr, afterFirstSet)
			creating, softening, another := on(server.Addr), on(swaps.addr), on(sets.addr)
			hard := make(chan error, 1)
			if meets {
				if err := region.Set(ctx, creating, "other", "x", region.WithTags("tag")); err != nil {
					t.Fatal(err)
				}
				sets.armed.Store(true)
				go func() { hard <- another.InvalidateTags(ctx, "tag") }()
				<-sets.held // half of it is done
			}
			began, goOn, created := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := region.GetOrCreate(ctx, creating, "k", func(ctx context.Context) (string, error) {
					close(began)
					<-goOn
					region.FromContext(ctx).AddTags("tag")
					return "old row", nil
				})
				created <- err
			}()
			<-began
			swaps.armed.Store(true)
			soft := make(chan error, 1)
			go func() { soft <- region.SoftTags(ctx, softening, "tag") }()
			<-swaps.held
			if meets {
				close(sets.release)
				if err := <-hard; err != nil {
					t.Fatal(err)
				}
			}
			close(goOn)
			if err := <-created; err != nil {
				t.Fatal(err)
			}
			close(swaps.release)
			if err := <-soft; err != nil {
				t.Fatal(err)
			}
			for _, r := range []*region.Region{creating, softening} {
				if v, ok, err := region.Get[string](ctx, r, "k"); ok || err != nil {
					t.Errorf("%q, %v, %v after SoftTags has returned; its creator began before", v, ok, err)
				}
			}
		})
	}
}
