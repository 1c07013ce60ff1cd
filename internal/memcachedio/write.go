package memcachedio

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Verb is what a [Write] asks for.
type Verb string

const (
	// Set stores an item whatever is there. It is Done.
	Set Verb = "set"
	// Add stores an item where none is. It is Done or Changed.
	Add Verb = "add"
	// CAS replaces the item that has CasID. It is Done, Changed or Absent.
	CAS Verb = "cas"
	// Append makes an item longer and leaves its flags and its Expiration; by nothing, it
	// gives it another CAS id all the same. It is Done, or Changed if there is none.
	Append Verb = "append"
)

// Write is one of several requests that change items.
type Write struct {
	Verb       Verb
	Name       Name
	Flags      uint32
	Expiration int32 // as memcached counts; zero: until the server needs the room
	Value      []byte
	CasID      uint64 // for CAS
}

// WriteAll sends writes, without waiting for the answer to one before it sends the next:
// all take one round trip. Those for one server go over one connection, which carries
// them out in their order: whoever sees what one of them has done sees what those before
// it have done, also if they arrive late.
//
// On an error nothing is known of any of them: each may have been carried out, or may be
// still. They are not sent again.
func WriteAll(ctx context.Context, writes []Write) ([]Outcome, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(writes) == 0 {
		return nil, nil
	}
	same := true
	for i := range writes {
		same = same && writes[i].Name.Server == writes[0].Name.Server
	}
	if same {
		return writes[0].Name.Server.write(ctx, writes)
	}
	outcomes := make([]Outcome, len(writes))
	places := map[*Server][]int{}
	var servers []*Server
	for i := range writes {
		s := writes[i].Name.Server
		if places[s] == nil {
			servers = append(servers, s)
		}
		places[s] = append(places[s], i)
	}
	err := Each(ctx, len(servers), func(i int) error {
		at := places[servers[i]]
		some := make([]Write, len(at))
		for j, k := range at {
			some[j] = writes[k]
		}
		done, err := servers[i].write(ctx, some)
		for j, outcome := range done {
			outcomes[at[j]] = outcome
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return outcomes, nil
}

func (s *Server) write(ctx context.Context, writes []Write) ([]Outcome, error) {
	r, err := s.lend(ctx)
	if err != nil {
		return nil, err
	}
	outcomes, err := r.write(ctx, writes, s.mc.Timeout)
	return outcomes, s.back(ctx, r, err)
}

// write sends requests and reads the answers.
func (r *reader) write(ctx context.Context, writes []Write, timeout time.Duration) ([]Outcome, error) {
	x, err := r.begin(ctx, timeout)
	if err != nil {
		return nil, err
	}
	defer x.end()
	out := r.out[:0]
	for i := range writes {
		out = writes[i].append(out)
	}
	if len(out) <= hasty {
		r.out = out
		if _, err := r.conn.Write(out); err != nil {
			return nil, err
		}
		return x.outcomes(len(writes))
	}
	if err := x.wait(); err != nil {
		return nil, err
	}
	// The answers are read meanwhile: a server that cannot get rid of them reads no
	// further.
	sent := make(chan error, 1)
	go func() {
		_, err := r.conn.Write(out)
		sent <- err
	}()
	outcomes, err := x.outcomes(len(writes))
	if err != nil {
		_ = r.conn.Close() // which ends the writing
	}
	if sending := <-sent; err == nil {
		err = sending
	}
	if err != nil {
		return nil, err
	}
	return outcomes, nil
}

// outcomes reads the answers to n writes.
func (x *exchange) outcomes(n int) ([]Outcome, error) {
	if err := x.begun(); err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, n)
	for i := range outcomes {
		if i%256 == 255 { // more comes than a moment ago
			if err := x.extend(); err != nil {
				return nil, err
			}
		}
		line, err := x.line()
		if err != nil {
			return nil, err
		}
		switch string(line) {
		case "STORED\r\n":
			outcomes[i] = Done
		case "NOT_STORED\r\n", "EXISTS\r\n":
			outcomes[i] = Changed
		case "NOT_FOUND\r\n":
			outcomes[i] = Absent
		default:
			return nil, fmt.Errorf("the answer to what was to be stored is %.200q", line)
		}
	}
	if err := x.over(); err != nil {
		return nil, err
	}
	return outcomes, nil
}

// append appends the request to b.
func (w *Write) append(b []byte) []byte {
	b = append(b, w.Verb...)
	b = append(append(b, ' '), w.Name.Text...)
	b = strconv.AppendUint(append(b, ' '), uint64(w.Flags), 10)
	b = strconv.AppendInt(append(b, ' '), int64(w.Expiration), 10)
	b = strconv.AppendInt(append(b, ' '), int64(len(w.Value)), 10)
	if w.Verb == CAS {
		b = strconv.AppendUint(append(b, ' '), w.CasID, 10)
	}
	b = append(append(b, "\r\n"...), w.Value...)
	return append(b, "\r\n"...)
}
