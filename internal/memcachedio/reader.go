package memcachedio

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// largestItem bounds what a server can make this process set aside for an item. No
// server is known to take larger ones.
const largestItem = 128 << 20

// longestRead is how many times the Timeout a read of many items may take, as long as
// they keep coming.
const longestRead = 20

// readers are the connections that reads are sent over, and what is written by the
// batch. The library's own are not used for them: it starts a goroutine for a read of two
// items, needs another one to notice the end of a context, trusts the server with the size
// of an answer, and waits for the answer to each write before it sends the next.
type readers struct {
	mu   sync.Mutex
	idle []*reader
}

// reader is one connection.
type reader struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte // for use again

	exchange exchange // the one that is under way

	// The end of a context may set a deadline at any time from now on, though it is
	// not that of whoever uses the connection next.
	spoiled bool
}

// reader returns a connection that was used before, the last one first, or a new one.
func (s *Server) reader(ctx context.Context) (*reader, error) {
	s.readers.mu.Lock()
	if n := len(s.readers.idle); n > 0 {
		r := s.readers.idle[n-1]
		s.readers.idle = s.readers.idle[:n-1]
		s.readers.mu.Unlock()
		return r, nil
	}
	s.readers.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, s.mc.Timeout)
	defer cancel()
	conn, err := s.dial(limited, s.addr.network, s.addr.text)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx) // that says nothing about the server
		}
		s.breaker.open(err)
		return nil, err
	}
	return &reader{conn: conn, in: bufio.NewReader(conn)}, nil
}

// keep takes a connection back that is good for another request.
func (s *Server) keep(r *reader) {
	s.readers.mu.Lock()
	defer s.readers.mu.Unlock()
	s.readers.idle = append(s.readers.idle, r) // there are no more than slots
}

// dropIdle closes the connections that nobody uses.
func (s *Server) dropIdle() {
	_ = s.mc.Close()
	s.readers.mu.Lock()
	idle := s.readers.idle
	s.readers.idle = nil
	s.readers.mu.Unlock()
	for _, r := range idle {
		_ = r.conn.Close()
	}
}

// Get reads items of this server, in the order of names, with nil for those that are
// not there. It is over when ctx is.
func (s *Server) Get(ctx context.Context, names ...string) ([]*memcache.Item, error) {
	items, err := s.get(ctx, names)
	if err != nil && Broken(err) && ctx.Err() == nil {
		items, err = s.get(ctx, names)
	}
	return items, err
}

func (s *Server) get(ctx context.Context, names []string) ([]*memcache.Item, error) {
	r, err := s.lend(ctx)
	if err != nil {
		return nil, err
	}
	items, err := r.get(ctx, names, s.mc.Timeout)
	return items, s.back(ctx, r, err)
}

// lend returns a connection for one exchange, when one more may be under way.
func (s *Server) lend(ctx context.Context) (*reader, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	r, err := s.reader(ctx)
	if err != nil {
		<-s.slots
		return nil, s.judgeRead(ctx, err)
	}
	return r, nil
}

// back ends what lend began, and returns what the exchange's error means.
func (s *Server) back(ctx context.Context, r *reader, err error) error {
	defer func() { <-s.slots }()
	if err != nil {
		_ = r.conn.Close()
		return s.judgeRead(ctx, err)
	}
	if r.spoiled {
		_ = r.conn.Close()
	} else {
		s.keep(r)
	}
	s.breaker.answered()
	return nil
}

// judgeRead is judge for what goes over these connections: an exchange that ended with
// its ctx says nothing about the server.
func (s *Server) judgeRead(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var netErr net.Error
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) && errors.As(err, &netErr) && netErr.Timeout() {
		return context.DeadlineExceeded // the socket was a moment faster
	}
	if errors.Is(err, ErrNoCAS) {
		return err
	}
	return s.judge(err)
}

// prompt is how long an answer is waited for before the end of a context is. To listen
// for that end takes longer than everything else that this process does for a read, and
// nearly all answers are there before.
const prompt = 20 * time.Millisecond

// exchange is one request on a connection, and how long it may take.
type exchange struct {
	*reader
	ctx     context.Context
	timeout time.Duration // for each part of the answer
	last    time.Time     // for all of it
	patient bool          // the end of ctx is listened for
	stop    func() bool   // ends that; nil if ctx cannot end
}

// hasty is the size up to which the kernel takes a request at once, so that writing it
// need not be watched.
const hasty = 4 << 10

// get sends one request and reads the answer.
func (r *reader) get(ctx context.Context, names []string, timeout time.Duration) ([]*memcache.Item, error) {
	x, err := r.begin(ctx, timeout)
	if err != nil {
		return nil, err
	}
	defer x.end()
	r.out = append(r.out[:0], "gets"...)
	for _, name := range names {
		r.out = append(append(r.out, ' '), name...)
	}
	r.out = append(r.out, "\r\n"...)
	if len(r.out) > hasty {
		if err := x.wait(); err != nil {
			return nil, err
		}
	}
	if _, err := r.conn.Write(r.out); err != nil {
		return nil, err
	}
	return x.answer(names)
}

// begin prepares for an exchange, which has to be ended unless there is an error.
func (r *reader) begin(ctx context.Context, timeout time.Duration) (*exchange, error) {
	now := time.Now()
	x := &r.exchange
	*x = exchange{reader: r, ctx: ctx, timeout: timeout, last: now.Add(longestRead * timeout)}
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(x.last) {
		x.last = deadline
	}
	soon := now.Add(min(prompt, timeout))
	if x.last.Before(soon) {
		soon = x.last
	}
	err := r.conn.SetReadDeadline(soon)
	if err == nil {
		// A request that could not be written is not the server's fault, so that has time.
		err = r.conn.SetWriteDeadline(x.deadline(now))
	}
	if err != nil {
		x.end()
		return nil, err
	}
	return x, nil
}

// begun returns when the answer has begun to come.
func (x *exchange) begun() error {
	if _, err := x.in.Peek(1); err != nil {
		var netErr net.Error
		if x.patient || !errors.As(err, &netErr) || !netErr.Timeout() {
			return err
		}
		return x.wait()
	}
	return nil
}

// line reads a line of the answer, which is good until the next read.
func (x *exchange) line() ([]byte, error) {
	// Whatever is here can be read without waiting.
	if here, _ := x.in.Peek(x.in.Buffered()); !x.patient && bytes.IndexByte(here, '\n') < 0 {
		if err := x.wait(); err != nil {
			return nil, err
		}
	}
	return x.in.ReadSlice('\n')
}

// over returns nil if the answer has ended where it should: what stands behind it would
// be taken for the next one.
func (x *exchange) over() error {
	if x.in.Buffered() > 0 {
		return errors.New("the server answers more than it was asked for")
	}
	return nil
}

// answer reads the answer to get.
func (x *exchange) answer(names []string) ([]*memcache.Item, error) {
	if err := x.begun(); err != nil {
		return nil, err
	}
	items := make([]*memcache.Item, len(names))
	for next, since := 0, 0; ; {
		line, err := x.line()
		if err != nil {
			return nil, err
		}
		if string(line) == "END\r\n" {
			if err := x.over(); err != nil {
				return nil, err
			}
			return items, nil
		}
		item, size, at, err := header(line, names, next)
		if err != nil {
			return nil, err
		}
		if since += size + 1024; since > 64<<10 { // more comes than a moment ago
			if err := x.extend(); err != nil {
				return nil, err
			}
			since = 0
		}
		if !x.patient && x.in.Buffered() < size+2 {
			if err := x.wait(); err != nil {
				return nil, err
			}
		}
		item.Value = make([]byte, size+2)
		if _, err := io.ReadFull(x.in, item.Value); err != nil {
			return nil, err
		}
		if string(item.Value[size:]) != "\r\n" {
			return nil, errors.New("a value in the answer does not end where it should")
		}
		item.Value = item.Value[:size:size]
		items[at], next = item, at+1
	}
}

// wait prepares for an answer that takes its time: from now on the end of ctx is
// noticed.
func (x *exchange) wait() error {
	if !x.patient {
		x.patient = true
		if x.ctx.Done() != nil {
			conn := x.conn
			x.stop = context.AfterFunc(x.ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		}
	}
	return x.extend()
}

// extend gives the server its time anew.
func (x *exchange) extend() error {
	err := x.conn.SetDeadline(x.deadline(time.Now()))
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx) // its own deadline may just have been replaced
	}
	return err
}

// deadline returns until when the next part may take.
func (x *exchange) deadline(now time.Time) time.Time {
	deadline := now.Add(x.timeout)
	if x.last.Before(deadline) {
		return x.last
	}
	return deadline
}

// end ends the listening.
func (x *exchange) end() {
	if x.stop != nil {
		x.spoiled = !x.stop()
	}
	x.ctx, x.stop = nil, nil
}

// header reads the line before a value: VALUE <name> <flags> <bytes> <cas>. Answers come
// in the order of names, of which those before next have been answered.
func header(line []byte, names []string, next int) (item *memcache.Item, size, at int, err error) {
	rest, ok := bytes.CutSuffix(line, []byte("\r\n"))
	rest, ok2 := bytes.CutPrefix(rest, []byte("VALUE "))
	if !ok || !ok2 {
		return nil, 0, 0, fmt.Errorf("the answer to gets is %.200q", line)
	}
	name, rest, _ := bytes.Cut(rest, []byte(" "))
	for at = next; at < len(names) && names[at] != string(name); at++ {
	}
	if at == len(names) {
		return nil, 0, 0, fmt.Errorf("the server answers %.200q, which was not asked for", line)
	}
	var numbers [3]uint64
	for i := range numbers {
		var number []byte
		number, rest, _ = bytes.Cut(rest, []byte(" "))
		if numbers[i], err = strconv.ParseUint(string(number), 10, 64); err != nil {
			return nil, 0, 0, fmt.Errorf("the server answers %.200q, in which a number is missing", line)
		}
	}
	switch {
	case numbers[2] == 0:
		return nil, 0, 0, ErrNoCAS
	case numbers[0] > 1<<32-1 || numbers[1] > largestItem:
		return nil, 0, 0, fmt.Errorf("the server answers %.200q; an item has %d bytes at most", line, largestItem)
	}
	return &memcache.Item{Key: names[at], Flags: uint32(numbers[0]), CasID: numbers[2]}, int(numbers[1]), at, nil
}
