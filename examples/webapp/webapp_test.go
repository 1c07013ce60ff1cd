package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// written is a log that can be read while it is written.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // has something in it after a write
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return w.text.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// says waits until the log has words in it.
func (w *written) says(t *testing.T, words string) {
	t.Helper()
	for !strings.Contains(w.String(), words) {
		select {
		case <-w.more:
		case <-time.After(20 * time.Second):
			t.Fatalf("the log does not say %q:\n%s", words, w)
		}
	}
}

// service is one run of the program.
type service struct {
	*testing.T
	url  string
	log  *written
	stop context.CancelFunc
	done chan error
}

// start runs the program with cache.yaml, in which the URL of the backend is another one.
func start(t *testing.T, url, database string, queryTime time.Duration) *service {
	t.Helper()
	config, err := os.ReadFile("cache.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const shipped = "\n  kept: memory:?max_entries=100000\n"
	if bytes.Count(config, []byte(shipped)) != 1 {
		t.Fatalf("cache.yaml has no line %q", shipped)
	}
	config = bytes.Replace(config, []byte(shipped), []byte("\n  kept: "+url+"\n"), 1)
	path := filepath.Join(t.TempDir(), "cache.yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &service{T: t, log: &written{more: make(chan struct{}, 1)}, stop: stop, done: make(chan error, 1)}
	ready := make(chan string, 1)
	go func() {
		s.done <- run(ctx, options{
			config: path, addr: "127.0.0.1:0", database: database, queryTime: queryTime,
			log: log.New(s.log, "", 0), ready: func(addr string) { ready <- addr },
		})
	}()
	select {
	case addr := <-ready:
		s.url = "http://" + addr
	case err := <-s.done:
		t.Fatalf("the service ended with %v", err)
	}
	t.Cleanup(func() {
		if s.done != nil {
			s.end()
		}
	})
	return s
}

// end stops the service and waits for it.
func (s *service) end() {
	s.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		s.Errorf("the service ended with %v", err)
	}
	s.done = nil
	http.DefaultClient.CloseIdleConnections()
}

// ask makes a request and returns the status and the body.
func (s *service) ask(method, path, body string) (int, string) {
	req, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Error(err)
		return 0, ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.Error(err)
	}
	return res.StatusCode, string(text)
}

// gets checks an answer: its status, and words that it has in it.
func (s *service) gets(path string, status int, words ...string) {
	s.Helper()
	s.answers("GET", path, "", status, words...)
}

func (s *service) answers(method, path, body string, status int, words ...string) {
	s.Helper()
	got, text := s.ask(method, path, body)
	if got != status {
		s.Errorf("%s %s: %d %.200s, want %d", method, path, got, text, status)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			s.Errorf("%s %s: %.300s, want %q in it", method, path, text, word)
		}
	}
}

func (s *service) stats() (products, categories region.Stats) {
	s.Helper()
	_, text := s.ask("GET", "/stats", "")
	var all map[string]region.Stats
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		s.Fatal(err)
	}
	return all["products"], all["categories"]
}

// One program, driven over HTTP, on every backend: nothing changes but the file.
func TestOnEveryBackend(t *testing.T) {
	for name, backend := range map[string]func(t *testing.T) string{
		"memory":    func(*testing.T) string { return "memory:?max_entries=100000" },
		"file":      func(t *testing.T) string { return "file://" + t.TempDir() },
		"redis":     func(t *testing.T) string { return redistest.Start(t).URL() + "/0?prefix=webapp" },
		"memcached": func(t *testing.T) string { return "memcached://" + memcachedtest.Start(t).Addr },
	} {
		t.Run(name, func(t *testing.T) {
			url, database := backend(t), filepath.Join(t.TempDir(), "shop.db")
			s := start(t, url, database, time.Millisecond)
			s.log.says(t, fmt.Sprintf("warmed categories: %d seen: 0 present, %[1]d created, 0 failed", len(kinds)))
			_, warm := s.stats()

			s.gets("/categories/lamps", 200, `"name":"lamps no. 1"`)
			if _, now := s.stats(); now.Creations != warm.Creations {
				t.Errorf("what was warmed is created once more: %d creations, before %d", now.Creations, warm.Creations)
			}
			before, _ := s.stats()
			var herd sync.WaitGroup
			for range 50 {
				herd.Go(func() { s.gets("/products/42", 200, `"id":42`) })
			}
			herd.Wait()
			if now, _ := s.stats(); now.Creations != before.Creations+1 {
				t.Errorf("50 requests at once for one product made %d queries, want 1", now.Creations-before.Creations)
			}

			// What is written is seen at once, wherever it was read before.
			for cents := range int64(20) {
				s.answers("PUT", "/products/42", fmt.Sprintf(`{"name":"Lamp","category":"lamps","cents":%d}`, cents), 200)
				want := fmt.Sprintf(`"name":"Lamp","category":"lamps","cents":%d}`, cents)
				s.gets("/products/42", 200, want)
				s.gets("/categories/lamps", 200, want)
			}
			s.gets("/categories/chairs", 200)
			s.answers("PUT", "/products/42", `{"name":"Lamp chair","category":"chairs","cents":5}`, 200)
			s.gets("/categories/chairs", 200, "Lamp chair")
			if _, text := s.ask("GET", "/categories/lamps", ""); strings.Contains(text, `"id":42,`) {
				t.Error("the product is in its former category still")
			}

			// What there was not is remembered, until it is there.
			s.gets("/products/99999", 404)
			before, _ = s.stats()
			s.gets("/products/99999", 404)
			if now, _ := s.stats(); now.Creations != before.Creations {
				t.Error("that there is no such product was asked for twice")
			}
			s.answers("PUT", "/products/99999", `{"name":"New","category":"new","cents":1}`, 200)
			s.gets("/products/99999", 200, `"name":"New"`)
			s.gets("/categories/new", 200, `"name":"New"`)
			s.gets("/categories/none", 200, "[]")

			for path, body := range map[string]string{
				"/products/x": "", "/products/0": `{"name":"n","category":"c","cents":1}`, "/products/1": `{"name":"n","category":"c","cents":-1}`,
				"/products/2": `{"nam":"n"}`, "/products/3": `{"name":"` + strings.Repeat("n", longestBody) + `"}`, "/products/4": "",
				"/products/5": `{"name":"n","category":"c","cents":1}{"name":"m","category":"c","cents":1}`,
			} {
				s.answers("PUT", path, body, 400)
			}
			s.gets("/products/x", 400)
			if p, c := s.stats(); p.Errors+c.Errors > 0 {
				t.Errorf("the backend has failed %d times", p.Errors+c.Errors)
			}
			s.end()

			// What a server, or the disk, has kept is there when the service starts again.
			s = start(t, url, database, time.Millisecond)
			present := len(kinds) + 1 // with the new one
			if name == "memory" {
				present = 0
			}
			s.log.says(t, fmt.Sprintf("warmed categories: %d seen: %d present, ", len(kinds)+1, present))
			s.gets("/products/42", 200, "Lamp chair")
			s.end()
		})
	}
}

// Writers wait for one another.
func TestWritesAtTheSameTime(t *testing.T) {
	s := start(t, "memory:?max_entries=1000", "", 0)
	var writers sync.WaitGroup
	for id := range 8 {
		writers.Go(func() {
			for cents := range 20 {
				s.answers("PUT", fmt.Sprintf("/products/%d", id+1), fmt.Sprintf(`{"name":"Lamp","category":"lamps","cents":%d}`, cents), 200)
			}
		})
	}
	writers.Wait()
}

// gone is a backend that a request's client does not wait for.
type gone struct {
	backend.Backend
	leave context.CancelFunc
}

func (g gone) Delete(ctx context.Context, keys []backend.Key) error {
	g.leave()
	return errors.Join(ctx.Err(), g.Backend.Delete(ctx, keys))
}

// What has been written is invalidated, also if nobody waits for the answer any more.
func TestClientThatLeaves(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for _, r := range []*region.Region{Products, Categories} {
		regiontest.Configure(t, r, func(cfg *region.Config) {
			cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { return gone{b, leave} })
		})
	}
	db, err := openDatabase(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := newCatalogue(db, 0).put(ctx, Product{ID: 1, Name: "Lamp", Category: "lamps"}); err != nil {
		t.Error(err)
	}
}

// A list that cannot be had is not taken for an empty one.
func TestWarmingWithoutTheDatabase(t *testing.T) {
	regiontest.Configure(t, Categories)
	db, err := openDatabase(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	said := &written{more: make(chan struct{}, 1)}
	warm(t.Context(), newCatalogue(db, 0), log.New(said, "", 0))
	said.says(t, "database is closed")
	if text := said.String(); strings.Contains(text, "warmed") {
		t.Errorf("the log says %q; want that nothing was warmed", text)
	}
}

// A request that is under way when the service stops is answered.
func TestShutdown(t *testing.T) {
	s := start(t, "memory:?max_entries=1000", "", 0)
	body, rest := io.Pipe()
	reads := make(chan struct{}) // closed when the handler reads the body
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(reads) }})
	req, err := http.NewRequestWithContext(ctx, "PUT", s.url+"/products/7", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	answered := make(chan error, 1)
	go func() {
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode != 200 {
				err = fmt.Errorf("status %d", res.StatusCode)
			}
		}
		answered <- err
	}()
	<-reads
	s.stop()
	s.log.says(t, "stopping")
	if _, err := rest.Write([]byte(`{"name":"Late","category":"lamps","cents":1}`)); err != nil {
		t.Error(err)
	}
	rest.Close()
	if err := <-answered; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	s.end()
}

// What is created behind a stale value still finds the database when the service stops.
func TestShutdownWhileCreating(t *testing.T) {
	s := start(t, "memory:?max_entries=1000", "", 300*time.Millisecond)
	s.gets("/products/7", 200)
	before := Products.Stats()
	if err := Products.Invalidate(t.Context(), region.Soft); err != nil {
		t.Error(err)
	}
	s.gets("/products/7", 200)
	s.end()
	if failed := Products.Stats().FailedCreations - before.FailedCreations; failed > 0 {
		t.Errorf("%d creations have failed", failed)
	}
}

// What is wrong with the file is told, with its line, and nothing is left running.
func TestBadConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.yaml")
	if err := os.WriteFile(path, []byte("defaults: {backend: 'memory:', expiration: 5m}\nregions:\n  product: {}\n  categories: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), options{config: path, addr: "127.0.0.1:0", log: log.New(io.Discard, "", 0), ready: func(string) {}})
	if err == nil || !strings.Contains(err.Error(), `cache.yaml:3: regions.product: no region of this name is declared: did you mean "products"?`) {
		t.Errorf("the error is %v", err)
	}
}

// An address that is taken is found out when the regions are configured, and they are
// closed again.
func TestAddressThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = run(t.Context(), options{config: "cache.yaml", addr: taken.Addr().String(), log: log.New(io.Discard, "", 0), ready: func(string) {}})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the error is %v, want that the address is in use", err)
	}
	s := start(t, "memory:?max_entries=1000", "", 0)
	s.gets("/products/1", 200)
}
