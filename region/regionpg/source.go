package regionpg

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dogpile-go/dogpile/region"
)

// How long a Source waits before it connects again: first the one, then twice as long
// each time, up to the other. A part of it is left to chance, so that the processes of a
// fleet do not come all at once.
const (
	shortestWait = 100 * time.Millisecond
	longestWait  = 10 * time.Second
)

// ahead is how many notices a Source hears before they are taken, so that the
// Invalidator can carry out together what came while it was busy. A payload has less
// than 8000 bytes.
const ahead = 256

// Source hears what is notified on one channel. It is opened with [Listen]. Its methods
// are safe for concurrent use.
type Source struct {
	cfg     Config
	config  *pgx.ConnConfig
	log     *slog.Logger
	notices chan region.Notice

	life  context.Context // ends with Close
	end   context.CancelFunc
	ended chan struct{}
}

// Listen connects to the database and returns when LISTEN is in force: what is committed
// from then on is heard. ctx bounds this alone; the Source goes on until it is closed.
//
// The error wraps [ErrConfig] if cfg is to blame. Otherwise the database could not be
// reached or would not let us listen, and it may be worth while to call Listen again: it
// tries once. No error has a password in it.
func Listen(ctx context.Context, cfg Config) (*Source, error) {
	config, err := cfg.check()
	if err != nil {
		return nil, err
	}
	s := &Source{
		cfg:     cfg,
		config:  config,
		log:     cfg.Logger,
		notices: make(chan region.Notice, ahead),
		ended:   make(chan struct{}),
	}
	first, err := s.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("regionpg: cannot listen on channel %q: %w", cfg.Channel, err)
	}
	s.life, s.end = context.WithCancel(context.Background())
	go s.run(first)
	return s, nil
}

// Notices returns the channel of what is to be invalidated, in the order in which it was
// committed, for [region.Invalidator.Run]. It is always the same one. It is closed when
// the Source is; what it holds by then, some hundred notices at most, can still be taken.
func (s *Source) Notices() <-chan region.Notice { return s.notices }

// Close ends the connection, and returns when nothing is left of it, whether anybody
// takes notices or not. It may be called again. The error is always nil.
func (s *Source) Close() error {
	s.end()
	<-s.ended
	return nil
}

// run hands on what is heard until the Source is closed.
func (s *Source) run(c *session) {
	defer close(s.ended)
	defer close(s.notices)
	everything := s.cfg.InvalidateAtStart
	wait := shortestWait
	for c != nil {
		err := s.follow(c, everything)
		c.close()
		if s.life.Err() != nil {
			return
		}
		s.log.Warn("dogpile: a connection to PostgreSQL is lost; when it is back, everything is invalidated",
			"channel", s.cfg.Channel, "error", err)
		// A connection that breaks again and again must not empty the cache ten times
		// a second.
		if time.Since(c.began) >= longestWait {
			wait = shortestWait
		}
		c, wait = s.reopen(wait)
		everything = true // what was said meanwhile is lost
	}
}

// follow hands on what c hears until it is lost, which the error says, or the Source is
// closed. LISTEN is in force already: nothing can get lost between everything and what c
// hears.
func (s *Source) follow(c *session, everything bool) error {
	if everything && !s.tell(region.Notice{All: true}) {
		return nil
	}
	for {
		payload, ok, err := c.wait(s.life, s.cfg.Keepalive)
		switch {
		case s.life.Err() != nil:
			return nil
		case err != nil:
			return err
		case ok:
			if !s.tell(s.decode(payload)) {
				return nil
			}
			continue
		}
		if err := c.ask(s.life, s.cfg.Channel, s.cfg.Timeout); err != nil {
			return err
		}
	}
}

// tell returns false if the Source is closed before there is room for n.
func (s *Source) tell(n region.Notice) bool {
	select {
	case s.notices <- n:
		return true
	case <-s.life.Done():
		return false
	}
}

// reopen connects until it succeeds, and returns nil if the Source is closed. It waits
// before each attempt, and returns how long to wait before the next.
func (s *Source) reopen(wait time.Duration) (*session, time.Duration) {
	lost := time.Now()
	var said string
	for {
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		wait = min(2*wait, longestWait)
		select {
		case <-timer.C:
		case <-s.life.Done():
			timer.Stop()
			return nil, 0
		}
		c, err := s.open(s.life)
		if err == nil {
			s.log.Info("dogpile: a connection to PostgreSQL is back, and everything is invalidated",
				"channel", s.cfg.Channel, "away", time.Since(lost))
			return c, wait
		}
		if s.life.Err() != nil {
			return nil, 0
		}
		if text := err.Error(); text != said { // once, and not with each attempt
			said = text
			s.log.Warn("dogpile: PostgreSQL cannot be reached again yet", "channel", s.cfg.Channel, "error", err)
		}
	}
}
