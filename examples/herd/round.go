package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// round is one play: a new fleet asks for one key.
type round struct {
	options
	out *screen

	fleet  []*process
	events chan event
	over   chan struct{}

	began     time.Time
	creations []*creation
	kill      <-chan time.Time // when the first creator is to be killed
}

// creation is one call of the creator.
type creation struct {
	by       *process
	began    time.Duration
	returned time.Duration // 0 if it never did
}

// play starts a fleet, lets it ask for key, and returns what came of it.
func play(ctx context.Context, o options, t *target, out *screen, key string) (result, error) {
	r := &round{options: o, out: out, events: make(chan event), over: make(chan struct{})}
	defer r.stop()
	t.used = append(t.used, key)
	for i := range o.processes {
		p, err := spawn(i+1, order{t.url, key, o.callers, o.takes}, out, r.events, r.over)
		if err != nil {
			return result{}, err
		}
		r.fleet = append(r.fleet, p)
	}
	if err := r.until(ctx, r.allReady); err != nil {
		return result{}, err
	}
	before, err := t.commands(ctx)
	if err != nil {
		return result{}, err
	}

	out.line("")
	r.began = time.Now().Add(100 * time.Millisecond).Round(0) // by the clock that all processes share
	for _, p := range r.fleet {
		_ = p.orders.Encode(start{r.began}) // if it cannot be written, the end of the process is told
	}
	if err := r.until(ctx, r.allDone); err != nil {
		return result{}, err
	}
	out.live("")
	after, err := t.commands(ctx)
	if err != nil {
		return result{}, err
	}
	return r.result(t.lease, before, after), nil
}

// until handles what happens until it is enough.
func (r *round) until(ctx context.Context, enough func() bool) error {
	for often := time.Tick(100 * time.Millisecond); !enough(); {
		select {
		case e := <-r.events:
			if err := r.handle(e); err != nil {
				return err
			}
		case <-r.kill:
			holder := r.creations[0].by
			holder.kill()
			holder.ended = r.now()
			r.tell("%v gets a SIGKILL", holder)
		case <-often:
			r.show()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *round) allReady() bool {
	for _, p := range r.fleet {
		if !p.ready {
			return false
		}
	}
	return true
}

// allDone reports whether every process has answered its callers or is dead.
func (r *round) allDone() bool {
	for _, p := range r.fleet {
		if p.answers == nil && p.ended == 0 {
			return false
		}
	}
	return true
}

func (r *round) handle(e event) error {
	p := e.from
	switch e.Kind {
	case ready:
		p.ready = true
	case waiting:
		p.waiting = e.Waiting
	case creating:
		r.creations = append(r.creations, &creation{by: p, began: e.At})
		r.tell("%v begins to create", p)
		if r.options.kill && len(r.creations) == 1 {
			r.kill = time.After(r.takes / 2)
		}
	case created:
		for _, c := range r.creations {
			if c.by == p && c.returned == 0 {
				c.returned = e.At
				break
			}
		}
		r.tell("%v has created", p)
	case done:
		p.waiting, p.answers = 0, e.Answers
	case failed:
		return fmt.Errorf("%v cannot take part: %s", p, e.Error)
	case ended:
		if r.began.IsZero() {
			return fmt.Errorf("%v has ended before it could begin", p)
		}
		p.waiting = 0
		if p.ended == 0 {
			p.ended = r.now()
			r.tell("%v is dead", p)
		}
	}
	return nil
}

// show shows who waits for whom.
func (r *round) show() {
	callers, processes := 0, 0
	for _, p := range r.fleet {
		if p.waiting > 0 && p.ended == 0 {
			callers += p.waiting
			processes++
		}
	}
	if callers == 0 {
		return // it has not begun, or the last ones are on their way
	}
	text := fmt.Sprintf("%s in %s", count(callers, "caller waits", "callers wait"), count(processes, "process", "processes"))
	if last := len(r.creations) - 1; last >= 0 && r.creations[last].returned == 0 && r.creations[last].by.ended == 0 {
		text += fmt.Sprintf(", process %d creates", r.creations[last].by.number)
	}
	r.out.live(r.stamped(text))
}

// tell prints a line that stays.
func (r *round) tell(format string, args ...any) {
	r.out.line("%s", r.stamped(fmt.Sprintf(format, args...)))
}

func (r *round) stamped(text string) string {
	return fmt.Sprintf("%7.2fs  %s", r.now().Seconds(), text)
}

// now returns the time since the start. It is never 0.
func (r *round) now() time.Duration { return max(1, time.Since(r.began)) }

// stop ends the fleet.
func (r *round) stop() {
	close(r.over)
	var stopping sync.WaitGroup
	for _, p := range r.fleet {
		stopping.Go(p.stop)
	}
	stopping.Wait()
}
