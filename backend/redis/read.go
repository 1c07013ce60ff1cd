package redis

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unsafe"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

const (
	// readRoom is how many keys are read with one command. A thousand values of a
	// kilobyte are a megabyte.
	readRoom = 256

	// readWidth is how many batches of reads are under way at once. More of them
	// are smaller, and each costs the server and this process a system call.
	readWidth = 2

	// slack is how long a batch may take before others stop waiting for it, and
	// mostWidth how many are then under way at most. Each needs a connection.
	slack     = 20 * time.Millisecond
	mostWidth = 6

	// mostAlone is how many guards a read has at most that is sent without further ado.
	mostAlone = 8
)

// read is one key with its guards, and then what was found.
type read struct {
	key    string // "": only the guards
	guards []string

	entry  *backend.Entry
	stamps []backend.Stamps
	err    error // the server's, about this read alone
}

// Get is Get of [backend.Backend].
func (b *Backend) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	if err := b.usable(ctx); err != nil {
		return backend.Found{}, err
	}
	name := b.names.valueOf(key)
	lane := b.readsFor(ctx, name)
	if len(guards) > 0 && len(guards) <= mostAlone && !b.client.Cluster() && lane.enter(ctx) {
		found, err := b.readAlone(lane, name, guards)
		return found, b.failed(err)
	}
	r := &read{key: name}
	if len(guards) > 0 {
		r.guards = b.names.appendStamps(make([]string, 0, len(guards)), guards)
	}
	if err := lane.do(ctx, r); err != nil {
		return backend.Found{}, b.failed(err)
	}
	if r.err != nil {
		return backend.Found{}, r.err
	}
	return backend.Found{Entry: r.entry, Stamps: r.stamps}, nil
}

// alone is what a read of one key with one guard brings, in one piece of memory, and
// aloneTagged what one with several does.
type (
	alone struct {
		entry  backend.Entry
		stamps [1]backend.Stamps
	}
	aloneTagged struct {
		entry  backend.Entry
		stamps [mostAlone]backend.Stamps
	}
)

// readAlone is the read of one key with few guards that nothing else is under way with,
// which is what most reads are. It leaves the lane that its caller has entered.
func (b *Backend) readAlone(lane *lane[*read], key string, guards []backend.Guard) (found backend.Found, err error) {
	err = errExited
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		lane.leave()
	}()
	var room [1 + mostAlone]string
	room[0] = key
	values, err := b.fetchOnce(context.Background(), b.names.appendStamps(room[:1], guards), &b.kept)
	if err != nil {
		return backend.Found{}, err
	}
	var entry *backend.Entry
	switch len(guards) {
	case 0: // of a view, which has no stamps
		entry = new(backend.Entry)
	case 1:
		a := new(alone)
		entry, found.Stamps = &a.entry, a.stamps[:]
	default:
		a := new(aloneTagged)
		entry, found.Stamps = &a.entry, a.stamps[:len(guards):len(guards)]
	}
	if value, ok := values[0].(string); ok {
		entry.Data = bytesOf(value)
		found.Entry = entry
	}
	for i := range found.Stamps {
		found.Stamps[i] = stampsIn(values[1+i])
	}
	return found, nil
}

// readsFor returns the lane of the server that has key, so that one that hangs does
// not hold up the others.
func (b *Backend) readsFor(ctx context.Context, key string) *lane[*read] {
	return laneOf(b, b.reads, b.client.NodeOf(ctx, key), func() *lane[*read] {
		return &lane[*read]{
			run:   b.runReads,
			size:  func(r *read) int { return 1 + len(r.guards) },
			room:  readRoom,
			width: readWidth,
			most:  mostWidth,
			slack: slack,
			limit: b.client.Longest(),
			spawn: b.spawn,
		}
	})
}

// laneOf returns the lane of a server, made if there is none.
func laneOf[O any](b *Backend, lanes map[string]*lane[O], node string, open func() *lane[O]) *lane[O] {
	b.lanesMu.RLock()
	l := lanes[node]
	b.lanesMu.RUnlock()
	if l != nil {
		return l
	}
	b.lanesMu.Lock()
	defer b.lanesMu.Unlock()
	if l = lanes[node]; l == nil {
		l = open()
		lanes[node] = l
	}
	return l
}

// runReads sends a batch of reads. Keys that several ask for are read once.
func (b *Backend) runReads(ctx context.Context, reads []*read) error {
	if len(reads) == 1 {
		r := reads[0]
		keys := make([]string, 0, 8)
		if r.key != "" {
			keys = append(keys, r.key)
		}
		keys = append(keys, r.guards...)
		values, err := b.fetch(ctx, keys)
		if err != nil {
			return err
		}
		if r.key != "" {
			r.entry, r.err = entryOf(values[0])
			values = values[1:]
		}
		r.stamps = stampsOf(values)
		return nil
	}

	at := make(map[string]int, 2*len(reads))
	keys := make([]string, 0, 2*len(reads))
	place := func(key string) {
		if _, known := at[key]; !known {
			at[key] = len(keys)
			keys = append(keys, key)
		}
	}
	for _, r := range reads {
		if r.key != "" {
			place(r.key)
		}
		for _, guard := range r.guards {
			place(guard)
		}
	}
	values, err := b.fetch(ctx, keys)
	if err != nil {
		return err
	}
	for _, r := range reads {
		if r.key != "" {
			r.entry, r.err = entryOf(values[at[r.key]])
		}
		if len(r.guards) > 0 {
			stamps := make([]any, len(r.guards))
			for i, guard := range r.guards {
				stamps[i] = values[at[guard]]
			}
			r.stamps = stampsOf(stamps)
		}
	}
	return nil
}

// GetMulti is GetMulti of [backend.Backend].
func (b *Backend) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	if err := b.usable(ctx); err != nil {
		return nil, nil, err
	}
	if len(keys)+len(guards) == 0 {
		return nil, nil, nil
	}
	names := make([]string, 0, len(keys)+len(guards))
	for _, key := range keys {
		names = append(names, b.names.valueOf(key))
	}
	names = b.names.appendStamps(names, guards)
	if len(keys) == 0 {
		// It belongs to the read of one value, which is often one of many.
		r := &read{guards: names}
		if err := b.readsFor(ctx, names[0]).do(ctx, r); err != nil {
			return nil, nil, b.failed(err)
		}
		return nil, r.stamps, nil
	}
	var values []any
	err := b.client.Run(ctx, func(ctx context.Context) (err error) {
		values, err = b.fetch(ctx, names)
		return err
	})
	if err != nil {
		return nil, nil, b.failed(err)
	}
	entries := make([]*backend.Entry, len(keys))
	for i := range keys {
		if entries[i], err = entryOf(values[i]); err != nil {
			return nil, nil, err
		}
	}
	return entries, stampsOf(values[len(keys):]), nil
}

// fetch reads keys in one round trip: with one command, or, on a cluster, where a
// command must not name keys of several slots, with one for each. A value is a
// string, nil if there is none, or the server's error about it.
func (b *Backend) fetch(ctx context.Context, keys []string) ([]any, error) {
	if !b.client.Cluster() {
		return b.fetchOnce(ctx, keys, nil)
	}
	batch := b.client.Batch()
	calls := make([]*redisio.Call, len(keys))
	for i, key := range keys {
		calls[i] = batch.Do("get", key)
	}
	if err := batch.Exec(ctx); err != nil {
		return nil, err
	}
	values := make([]any, len(keys))
	for i, call := range calls {
		value, err := call.Value()
		if values[i] = value; err != nil {
			values[i] = err
		}
	}
	return values, nil
}

// fetchOnce reads keys with one MGET, over the kept connection if that is not nil. A key
// of another type is nil in its answer.
func (b *Backend) fetchOnce(ctx context.Context, keys []string, kept *keptConn) ([]any, error) {
	args := make([]any, 1, 1+len(keys))
	args[0] = "mget"
	for _, key := range keys {
		args = append(args, key)
	}
	for tries := 1; ; tries++ {
		cmd := goredis.NewSliceCmd(ctx, args...)
		var err error
		if kept != nil {
			err = kept.process(ctx, cmd)
		} else {
			err = b.client.Process(ctx, cmd)
		}
		switch {
		case err == nil && len(cmd.Val()) == len(keys):
			return cmd.Val(), nil
		case err == nil:
			return nil, fmt.Errorf("redis: the answer to MGET of %d keys has %d values", len(keys), len(cmd.Val()))
		case tries == 1 && ctx.Err() == nil && redisio.Broken(err):
		default:
			return nil, redisio.Explain(ctx, err)
		}
	}
}

// entryOf makes an entry of a value. What is no value of ours, because the key is of
// another type, becomes an entry that nobody can read, so that the region tells of
// it.
func entryOf(value any) (*backend.Entry, error) {
	switch value := value.(type) {
	case string:
		return &backend.Entry{Data: bytesOf(value)}, nil
	case error:
		if isWrongType(value) {
			return foreignEntry, nil
		}
		return nil, value
	}
	return nil, nil
}

// foreignEntry stands for whatever another program keeps under a key of ours.
var foreignEntry = &backend.Entry{Data: []byte("another program keeps something that is not a string under this key")}

func isWrongType(err error) bool { return strings.HasPrefix(err.Error(), "WRONGTYPE") }

// bytesOf returns the bytes of a string that was just received and belongs to nobody
// else. Entries are immutable, so nobody writes into them.
func bytesOf(s string) []byte {
	if s == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// stampsOf reads stamps. What is no stamp is none.
func stampsOf(values []any) []backend.Stamps {
	if len(values) == 0 {
		return nil
	}
	stamps := make([]backend.Stamps, len(values))
	for i, value := range values {
		stamps[i] = stampsIn(value)
	}
	return stamps
}

func stampsIn(value any) (stamps backend.Stamps) {
	if s, ok := value.(string); ok && len(s) == stampsSize {
		copy(stamps.Hard[:], s)
		copy(stamps.Soft[:], s[len(stamps.Hard):])
	}
	return stamps
}
