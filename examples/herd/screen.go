package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// screen is where everything is printed: lines that stay, and one that tells how
// things are. On a terminal that one is rewritten in its place. Anywhere else it is
// a line like the others, once a second.
type screen struct {
	mu       sync.Mutex
	out      *os.File
	terminal bool
	shown    time.Time // when the live line was last printed, where it is no terminal
}

const clearLine = "\r\x1b[K"

func newScreen(out *os.File) *screen {
	info, err := out.Stat()
	return &screen{
		out:      out,
		terminal: err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb",
		shown:    time.Now(),
	}
}

// line prints a line that stays.
func (s *screen) line(format string, args ...any) {
	fmt.Fprintf(s, format+"\n", args...)
}

// Write prints lines that stay, such as what workers write to their stderr.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminal {
		fmt.Fprint(s.out, clearLine)
	}
	return s.out.Write(text)
}

// live shows how things are, until the next call or line. An empty text clears it.
func (s *screen) live(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.terminal:
		fmt.Fprint(s.out, clearLine+text)
	case text != "" && time.Since(s.shown) >= time.Second:
		s.shown = time.Now()
		fmt.Fprintln(s.out, text)
	}
}

// count returns for example "4,000 callers".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// number returns n with a comma after the thousands.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// rounded leaves two digits that matter, as far as a millisecond has any.
func rounded(d time.Duration) time.Duration {
	unit := 10 * time.Microsecond
	for d/unit >= 100 {
		unit *= 10
	}
	return d.Round(unit)
}
