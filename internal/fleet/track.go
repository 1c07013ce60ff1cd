package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/redis/go-redis/v9/push"
)

const (
	// census is how often the servers of a cluster are counted.
	census = 5 * time.Second

	// firstBackoff and lastBackoff are the times between two attempts to connect.
	firstBackoff = 20 * time.Millisecond
	lastBackoff  = time.Second
)

// refusedBackoff is the time between two attempts at a server that refuses. Tests
// make it shorter.
var refusedBackoff = time.Minute

// tracker is the connection to one server over which that tells of changed locks
// and of those who come and go.
type tracker struct {
	member *Member
	addr   string
	node   *redis.Client // commands to this server
	client *redis.Client // of the connection
	quit   context.Context
	stop   context.CancelFunc
	heard  atomic.Int64 // when something came last, in nanoseconds since born
	born   time.Time

	// What became of the last attempt. Only the connecting goroutine uses it.
	reached bool          // there was a connection, and the server tells of changes
	refused error         // what the server answered to CLIENT TRACKING or SUBSCRIBE
	trip    time.Duration // the shortest of three round trips: others had to wait for a processor

	// Guarded by Member.mu.
	settled bool // the first attempt is over
	up      bool // the server tells of changes
	visible bool // the server can be asked whether this process is alive

	patience byte // how long others are to wait for this process; see deathChecks
}

// track keeps a tracker for each server.
func (m *Member) track() {
	ticker := time.NewTicker(census)
	defer ticker.Stop()
	first := true
	for {
		m.count(first)
		first = false
		if !m.Client.Cluster() {
			return
		}
		m.regroup()
		select {
		case <-ticker.C:
		case <-m.closing:
			return
		}
	}
}

// count starts trackers for servers that are new and stops those of servers that
// are gone.
func (m *Member) count(first bool) {
	ctx, cancel := context.WithTimeout(m.life, m.Client.Longest())
	defer cancel()
	masters, err := m.Client.Masters(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	if err == nil && len(masters) > 0 {
		for addr, t := range m.trackers {
			if masters[addr] == nil {
				t.stop()
				delete(m.trackers, addr)
			}
		}
	}
	for addr, node := range masters {
		if m.trackers[addr] == nil {
			t := newTracker(m, addr, node)
			m.trackers[addr] = t
			if first {
				m.expected++
			}
			m.running.Go(t.run)
		}
	}
	if first && m.expected == 0 {
		close(m.settled) // a cluster that cannot be reached
	}
}

func newTracker(m *Member, addr string, node *redis.Client) *tracker {
	t := &tracker{member: m, addr: addr, node: node, born: time.Now()}
	t.quit, t.stop = context.WithCancel(context.Background())

	// The connection is made as the user's are, with what differs for one that
	// does nothing but listen.
	opt := *node.Options()
	opt.Protocol = 3
	opt.ContextTimeoutEnabled = true
	opt.MaxRetries = -1
	opt.DialerRetries = 1
	opt.PoolSize = 1
	opt.MinIdleConns = 0
	opt.MaxIdleConns = 0
	opt.MaxActiveConns = 0
	opt.PipelinePoolSize = -1
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opt.ClientSideCacheConfig = nil
	opt.ClientSideCache = nil
	opt.PushNotificationProcessor = nil
	opt.Limiter = nil
	// A connection that is being made is given up by closing it: go-redis waits for
	// the answer to HELLO whatever becomes of its ctx.
	dial, forget := opt.Dialer, func() bool { return true }
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err == nil {
			forget() // the last one
			forget = context.AfterFunc(t.quit, func() { _ = c.Close() })
		}
		return c, err
	}
	onConnect := opt.OnConnect
	opt.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		if onConnect != nil {
			if err := onConnect(ctx, cn); err != nil {
				return err
			}
		}
		// go-redis goes on with RESP2 if HELLO is refused. The server would take
		// the next command all the same, and then tell nothing.
		began := time.Now()
		err := cn.Do(ctx, "hello", "3").Err()
		t.trip = time.Since(began)
		if err == nil {
			began = time.Now()
			err = cn.ClientTrackingOn(ctx, &redis.ClientTrackingOptions{Bcast: true, Prefixes: []string{m.Prefix}}).Err()
			t.trip = min(t.trip, time.Since(began))
		}
		var answer redis.Error
		if errors.As(err, &answer) && !redis.IsAuthError(err) {
			t.refused = err
		}
		t.reached = err == nil
		return err
	}
	t.client = redis.NewClient(&opt)
	// It fails only for a name that is taken, and this client is new.
	_ = t.client.RegisterPushNotificationHandler("invalidate", t, true)
	return t
}

// run connects, again and again, until the tracker is stopped.
func (t *tracker) run() {
	defer t.client.Close()
	told := false
	backoff := firstBackoff
	for t.quit.Err() == nil {
		began := time.Now()
		err := t.listen()
		t.down()
		switch {
		case t.quit.Err() != nil:
			return
		case t.refused != nil:
			backoff = refusedBackoff
			if !told {
				told = true
				t.member.Logger.Warn("dogpile: Redis does not tell when locks become free, so they are polled while a value is waited for; "+
					"it takes Redis 6 or newer, a connection without a RESP2 proxy in between, and a user who may run CLIENT TRACKING and SUBSCRIBE",
					"addr", t.node.Options().Addr, "error", err)
			}
		case time.Since(began) > lastBackoff:
			backoff = 0 // it had worked, and may be taken for dead meanwhile
		default:
			backoff = min(max(2*backoff, firstBackoff), lastBackoff)
		}
		select {
		case <-time.After(backoff):
		case <-t.quit.Done():
		}
	}
}

// listen connects and receives until the connection ends.
func (t *tracker) listen() error {
	m := t.member
	t.reached, t.refused = false, nil
	t.heard.Store(int64(time.Since(t.born)))
	ps := t.client.Subscribe(t.quit, m.aliveChannel(m.process), m.fleetChannel())
	ended := make(chan struct{})
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		t.watchdog(ps, ended)
	}()
	defer func() {
		close(ended)
		_ = ps.Close()
		<-beating
	}()

	subscriptions := 0
	for {
		// Without a deadline on purpose: one that cut a push in two would leave
		// its second half to be read as something else.
		msg, err := ps.Receive(t.quit)
		if err != nil {
			if subscriptions == 0 && t.reached && isAnswer(err) {
				t.refused = err
			}
			return err
		}
		t.heard.Store(int64(time.Since(t.born)))
		switch msg := msg.(type) {
		case *redis.Subscription:
			if subscriptions++; subscriptions == 2 {
				t.risen()
			}
		case *redis.Message:
			if msg.Channel == m.fleetChannel() {
				m.onMessage(msg.Payload)
			}
		}
	}
}

// isAnswer reports whether err is what the server said to a command.
func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer) && !errors.Is(err, redis.Nil)
}

// HandlePushNotification is called with the names of keys that have changed, on
// the goroutine that receives.
func (t *tracker) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, notification []any) error {
	t.heard.Store(int64(time.Since(t.born)))
	if len(notification) < 2 {
		return fmt.Errorf("fleet: a push without keys: %v", notification)
	}
	if keys, ok := notification[1].([]any); ok {
		t.member.onChange(keys)
	} else {
		t.member.onGap(t.addr) // everything was flushed
	}
	return nil
}

// risen tells that the connection stands, and asks the server whether it sees this
// process.
func (t *tracker) risen() {
	m := t.member
	ctx, cancel := context.WithTimeout(t.quit, patience)
	defer cancel()
	began := time.Now()
	visible := t.isVisible(ctx)
	t.trip = min(t.trip, time.Since(began))
	m.mu.Lock()
	t.up, t.visible, t.patience = true, visible, patienceFor(t.trip)
	t.settle()
	m.probing.known = 0
	m.mu.Unlock()
	m.onGap(t.addr)
	if visible {
		m.tell(ctx, t, joined)
	}
}

// isVisible asks on the connection of a command, as the others will.
func (t *tracker) isVisible(ctx context.Context) bool {
	subscribers, err := t.node.Eval(ctx, aliveSource, nil, t.member.aliveChannel(t.member.process)).Int()
	return err == nil && subscribers > 0
}

// down tells that the connection has ended, or could not be made.
func (t *tracker) down() {
	m := t.member
	m.mu.Lock()
	defer m.mu.Unlock()
	t.up, t.visible = false, false
	t.settle()
	for addr, v := range m.servers {
		if addr == t.addr || addr == "" {
			v.hurry = true // from now on locks are polled
			alarm(v.looks)
		}
	}
}

// settle counts the first outcome. Member.mu is held.
func (t *tracker) settle() {
	m := t.member
	if t.settled || m.expected == 0 {
		return
	}
	t.settled = true
	if m.expected--; m.expected == 0 {
		close(m.settled)
	}
}

// isTracking reports whether every server tells of changes. m.mu is held.
func (m *Member) isTracking() bool {
	for _, t := range m.trackers {
		if !t.up {
			return false
		}
	}
	return len(m.trackers) > 0
}
