package regionpg_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionpg"
	"github.com/dogpile-go/dogpile/region/regionpg/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.WithShared(m)) }

// patience bounds every wait for what has to come.
const patience = 60 * time.Second

// everything is what is told when something may have got lost.
var everything = region.Notice{All: true}

// channel returns a name that no other test uses.
func channel(t *testing.T) string { return strings.ToLower(strings.ReplaceAll(t.Name(), "/", "_")) }

// listen opens a Source that is closed when the test ends.
func listen(t *testing.T, cfg regionpg.Config) *regionpg.Source {
	t.Helper()
	if cfg.Channel == "" {
		cfg.Channel = channel(t)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	source, err := regionpg.Listen(ctx, cfg)
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return source
}

// notify says something on the channel of the test.
func notify(t *testing.T, server *pgtest.Server, payload string) {
	t.Helper()
	server.Exec(t, "SELECT pg_notify($1, $2)", channel(t), payload)
}

// next returns what the source tells next.
func next(t *testing.T, source *regionpg.Source) region.Notice {
	t.Helper()
	select {
	case n, ok := <-source.Notices():
		if !ok {
			t.Fatal("the channel of notices is closed, want a notice")
		}
		return n
	case <-time.After(patience):
		t.Fatalf("no notice within %v", patience)
		return region.Notice{}
	}
}

// wantNext fails if something else comes next than want.
func wantNext(t *testing.T, source *regionpg.Source, want region.Notice) {
	t.Helper()
	if got := next(t, source); !reflect.DeepEqual(got, want) {
		t.Fatalf("the next notice is %+v, want %+v", got, want)
	}
}

// numbered is a payload, and what it has to become.
func numbered(n int) (string, region.Notice) {
	return fmt.Sprintf(`{"keys":["%d"]}`, n), region.Notice{Keys: []string{fmt.Sprint(n)}}
}

// wantNothingLeft fails if a goroutine of a Source or of pgx is there. A goroutine needs
// a moment to be gone after its last step; what pgx does in the background takes longer
// than this waits.
func wantNothingLeft(t *testing.T) {
	t.Helper()
	buffer := make([]byte, 1<<20)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		var left []string
		for stack := range strings.SplitSeq(string(buffer[:runtime.Stack(buffer, true)]), "\n\n") {
			if strings.Contains(stack, "jackc/pgx") || strings.Contains(stack, "regionpg.(*") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("goroutines are left:\n%s", strings.Join(left, "\n\n"))
			return
		}
	}
}

// logbook keeps what is logged.
type logbook struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newLogbook() *logbook { return &logbook{changed: make(chan struct{})} }

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns when the text has been logged n times.
func (l *logbook) await(t *testing.T, text string, n int) {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		have, changed := strings.Count(l.text.String(), text), l.changed
		l.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%q has been logged %d times within %v, want %d. The log:\n%s", text, have, patience, n, l)
		}
	}
}

// The messages of the log that tests wait for.
const (
	logLost    = "is lost"
	logBack    = "is back"
	logNotYet  = "cannot be reached"
	logBadText = "cannot be read"
)
