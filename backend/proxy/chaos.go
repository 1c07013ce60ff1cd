package proxy

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// ErrChaos is the failure that [Chaos] injects where its Config names no other.
var ErrChaos = errors.New("proxy: injected failure")

// ChaosConfig says how bad a backend is. The zero ChaosConfig does no harm.
type ChaosConfig struct {
	// Seed decides who is hit: with one seed, the nth Get, the nth Set and so on meet the
	// same fate in every run. Defaults to 0, which is a seed as good as any.
	Seed uint64

	// Latency is how much longer each operation takes. It passes before the operation is
	// carried out. An operation whose context ends meanwhile is not carried out. Defaults
	// to 0.
	Latency time.Duration

	// Jitter is up to how much longer still, by chance. Defaults to 0.
	Jitter time.Duration

	// ErrorRate is which part of the operations fails without having been carried out,
	// from 0 to 1. Defaults to 0.
	ErrorRate float64

	// LostRate is which part is carried out and fails all the same, as if the answer of a
	// server had got lost. Together with ErrorRate it is 1 at most. Defaults to 0.
	LostRate float64

	// Err is wrapped by the errors of what fails. Defaults to ErrChaos.
	Err error

	// When is asked before each operation, by the name of its method, such as "Get" or
	// "Set", whether all of this concerns it. It may be called by many goroutines at
	// once; with it a test begins an outage, and ends it. Defaults to nil: always.
	When func(op string) bool
}

func (c ChaosConfig) check() error {
	switch errs, lost := c.ErrorRate, c.LostRate; {
	case !(errs >= 0 && lost >= 0 && errs+lost <= 1): // also for what is not a number
		return fmt.Errorf("proxy: ErrorRate is %v and LostRate %v; both are from 0 to 1, and so is their sum", errs, lost)
	case c.Latency < 0 || c.Jitter < 0 || c.Latency+c.Jitter < 0:
		return fmt.Errorf("proxy: Latency is %v and Jitter %v; give durations that are not negative, nor beyond all bounds", c.Latency, c.Jitter)
	}
	return nil
}

// Chaos returns a wrapper that makes a backend slow and unreliable, for tests of what a
// program does then. It starts no goroutine, and uses no clock but that of package time,
// so it works in [testing/synctest]. Bytes and Close are left alone.
//
// Rates out of range and negative durations are mistakes.
func Chaos(config ChaosConfig) func(backend.Backend) backend.Backend {
	if config.Err == nil {
		config.Err = ErrChaos
	}
	return around(config.check(), func(in inner) backend.Backend {
		return &chaotic{inner: in, config: config, dice: make(map[string]*rand.Rand)}
	})
}

type chaotic struct {
	inner
	config ChaosConfig

	mu   sync.Mutex            // guards what follows
	dice map[string]*rand.Rand // one for each operation, so that their order does not matter
}

// roll returns what the next operation of this name meets: how long it is delayed, and
// where on the line from 0 to 1 it stands.
func (c *chaotic) roll(op string) (delay time.Duration, at float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	die := c.dice[op]
	if die == nil {
		name := fnv.New64a()
		name.Write([]byte(op)) // never fails; see hash.Hash
		die = rand.New(rand.NewPCG(c.config.Seed, name.Sum64()))
		c.dice[op] = die
	}
	delay, at = c.config.Latency, die.Float64()
	if c.config.Jitter > 0 {
		delay += time.Duration(die.Int64N(int64(c.config.Jitter)))
	}
	return delay, at
}

// through carries out an operation as badly as it is configured.
func (c *chaotic) through(ctx context.Context, op string, carryOut func() error) error {
	if c.config.When != nil && !c.config.When(op) {
		return carryOut()
	}
	delay, at := c.roll(op)
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if at < c.config.ErrorRate {
		return fmt.Errorf("%w: %s was not carried out", c.config.Err, op)
	}
	if err := carryOut(); err != nil {
		return err
	}
	if at < c.config.ErrorRate+c.config.LostRate {
		return fmt.Errorf("%w: %s was carried out, and its answer got lost", c.config.Err, op)
	}
	return nil
}
