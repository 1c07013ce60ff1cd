package redis

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/internal/redisio"
)

const (
	// clockFor is how long a reading of the server's clock is good. Clocks that
	// are a ten-thousandth apart differ by 6 ms after it.
	clockFor = time.Minute

	// slip is how far the two clocks of this machine, the one that is set and the
	// one that only runs, may drift apart before the server is asked again: the
	// machine was suspended, or its clock was set.
	slip = 500 * time.Millisecond
)

// clock tells the server's time without asking for it each time.
type clock struct {
	reading   atomic.Pointer[reading]
	measuring atomic.Bool
}

// reading says that it was server o'clock at local. The time since then is measured
// by the clock that only runs.
type reading struct {
	server, local time.Time
	doubt         time.Duration // how far off it may be
}

// doubtful is how far off a reading may be that is kept for long, and doubtFor how
// long one is kept that is worse.
const (
	doubtful = 100 * time.Millisecond
	doubtFor = time.Second
)

// now returns the server's time, and whether it should be asked for it again.
func (c *clock) now() (now time.Time, stale bool) {
	now = time.Now()
	r := c.reading.Load()
	if r == nil {
		return now, false // the first call that needs the server asks it
	}
	ran := now.Sub(r.local)
	set := time.Duration(now.UnixNano() - r.local.UnixNano())
	return r.server.Add(ran), ran > clockFor || (set-ran).Abs() > slip || r.doubt > doubtful && ran > doubtFor
}

// set takes the answer to TIME, which was given at some moment between asked and
// answered.
func (c *clock) set(asked, answered time.Time, call *redisio.Call) error {
	value, err := call.Value()
	if err != nil {
		return fmt.Errorf("ask for the server's time: %w", err)
	}
	server, err := parseTime(value)
	if err != nil {
		return err
	}
	doubt := answered.Sub(asked) / 2
	c.reading.Store(&reading{server: server.Add(doubt), local: answered, doubt: doubt})
	return nil
}

// parseTime reads the answer to TIME: seconds and microseconds, as text.
func parseTime(value any) (time.Time, error) {
	parts, _ := value.([]any)
	if len(parts) == 2 {
		s, _ := parts[0].(string)
		us, _ := parts[1].(string)
		seconds, err := strconv.ParseInt(s, 10, 64)
		micros, err2 := strconv.ParseInt(us, 10, 64)
		if err == nil && err2 == nil {
			return time.Unix(seconds, micros*1000), nil
		}
	}
	return time.Time{}, fmt.Errorf("redis: the answer to TIME is %v, not two numbers", value)
}
