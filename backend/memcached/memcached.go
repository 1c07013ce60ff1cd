// Package memcached keeps entries in memcached, for a whole fleet of processes: on one
// server, or spread over several.
//
//	b := memcached.New(memcached.Config{Servers: []string{"10.0.0.1:11211", "10.0.0.2:11211"}, Prefix: "app"})
//	b, err := backend.Open("memcached://10.0.0.1:11211,10.0.0.2:11211?prefix=app")
//
// It needs CAS, which memcached has unless it was started with -C, and is tested with
// memcached 1.6. Processes connect to the servers themselves: a proxy in between that
// spreads keys by itself takes apart what belongs together. Close, or the region that
// uses it, has to be called when it is not needed any more.
//
// # What is stored
//
// Under the prefix "app", of a key whose region and name have the SHA-256 digest d:
//
//	app:v:d       a value with a TTL, or a stub that stands for none
//	app:l:d       the lease of that value, with a TTL
//	app:p:d:…     the parts of a value in several, if Config.Chunked is set
//	app:s:d       the stamps of a region or tag, for ever
//
// So nothing of a key goes over the wire, any key works, and no two collide.
//
// # Round trips
//
// A hit takes one: the value and the stamps of its region and tags in one "gets" to the
// server that has them, or, if they are on two servers, in one to each at the same time:
// the stamps of a region's tags are where its own are. A value that was stored in parts
// takes a second one. memcached runs no scripts, so what changes several items takes a
// few: Acquire three, and one more where it creates stamps, Set of a value under its lease
// three, one without four, Delete three. Renew takes one if it is hard, and four if it is
// soft, for any number of tags. The keys of a batch are worked on side by side, most of
// them with requests of their own, because the library has no batches.
//
// Nobody tells when a lease ends. Those who wait in a process ask, all together, at
// intervals that grow from 5 to 50 ms; what the process itself does they learn at once.
//
// # Why no invalidation is lost
//
// Whatever is sent may arrive late, after its connection was given up. Values are
// therefore stored by "cas" only: the server refuses it if the item is not the very one
// that was read before. A publication first reads the value's item V and then, in the
// same request, the lease's item L. L has the token of the publisher's own lease, or it
// is refused. Delete first removes L and then V. If the publication found L, then its
// read of V came before the removal of L, and that before the removal of V. So the cas
// comes before the removal of V, which then takes the new value away, or it comes later
// and is refused, as the item that was read is gone. Where there is no V, a stub is
// stored first; it reads like a miss.
//
// Who is granted a lease changes the CAS id of V, or stores a stub, before it reads V. So
// what it reads is not replaced by the cas of a holder from before, and it may store it
// again: its own lease is lost if somebody else writes.
//
// A Set without a lease takes L over with a token of its own and does the same. If it
// loses L meanwhile, to a Delete or another Set, it is over: its value counts as stored
// and replaced. To be sure of that it deletes V, as it cannot know who was first, so of
// two Sets at one moment it may be that neither value stays.
//
// CAS ids begin anew when a server is restarted; tokens tell, since they are gone then.
// What remains is a cas that was held up between that read and a restart, is sent over a
// new connection, and meets an item that has by chance got the same id again. The cas of a
// soft renewal is such a one, too.
//
// # Sharing with other libraries
//
// [Backend.Share] returns a view of the server in the layout of another library, such as
// that of Python's dogpile.cache: the value of a key is the item with that name, as it is,
// and its lock the item with Layout.LockPrefix in front. Neither Prefix nor a region's name
// has a part in that, so keys have to be such as memcached takes: from 1 byte to 250 less
// those of LockPrefix, without spaces and control characters. Any other one is refused with
// an error, or by a Delete of several after the others have been deleted. Clients
// choose among several servers each in its own way, so there is one; Chunked and Compress
// are refused, as nobody else could read that. Values that another client has compressed
// with zlib (flags 8) are read; what it has pickled, and everything else that is not bytes
// (flags other than 0 and 16), is an entry without Data, which nobody can read.
//
// A lease is an "add" of a number of 40 digits with LeaseTTL. A lock with anything else in
// it is that of another program: no call takes or removes it, until Layout.StealAfter has
// passed since this process has first seen that very lock (memcached tells neither how old
// an item is nor when it ends, so this goes for locks with and without an end). Set and
// Delete do their work all the same. A process remembers a thousand such locks.
//
// No stub may stand in for a value where others would read it, so there is nothing that a
// cas could replace where no value is, and an add that arrives late would bring back what
// was deleted. Therefore:
//
//   - Where a value is, it is stored as above: by a cas, right after a read of the value
//     and then of the lock.
//   - Who is about to store one where none is first leaves a mark, "dogpile:w:d", where d
//     is the digest of the name, and then looks at the lock again. Both the mark and the
//     add of the value end at the same time, some seconds later, by the clock of the server
//     alone, which it was asked for. When the value is there, a cas gives it the time that
//     it shall have, as long as the lock is the publisher's still; otherwise it is taken
//     away again. The mark is taken away when the answer to the add is known. If it never
//     is, the mark stays, and ends no earlier than the add is of no use.
//   - Set and Delete leave that mark first, and wait for that of others. Then they take the
//     lock from a creator of this library, and then store or remove the value. Who was
//     granted the lease during a Delete may have read the old value, so all is done again
//     then. From the second time on the lock is kept meanwhile.
//
// So when a Delete has the mark, no add that was sent before can have an effect any more,
// and none that is sent later finds its lock. For each cas the proof above holds.
//
// A Delete, or a Set, waits for a mark that is left behind, when a process is killed, or
// cut off, in those milliseconds: for three seconds, or, with a Timeout of more than half
// a second, up to ten. A publication takes three round trips, eight where no value is;
// Set five or seven, Delete five.
//
// What a view cannot promise:
//
//   - A program with another library deletes and stores without a look at anybody's lock. Its
//     Delete does not end a creation that is under way here; ours does not end one there.
//     Its release deletes whatever lock is there, so that a creation here is refused and
//     another one may begin.
//   - If the server evicts a mark that is some seconds old at most, is flushed, or
//     restarted, and an add has been held up on its way since before, then the old value is
//     there until that add ends: for three seconds (up to ten) from when it was sent. The
//     same goes for a jump of the server's clock in those seconds, by as much.
//   - The chance of a CAS id after a restart is the same as above.
//
// # Several servers
//
// Each key is on the server that its digest chooses; one more server takes over its
// share of keys and leaves the others where they are. All processes must be given the
// same servers, with the same names. A server that is down is not replaced: calls for
// its keys fail at once until it is back, so for a region they are misses. A region
// whose stamps were there has no hits until then.
//
// A server that evicts may evict any item: a value that is gone is a miss, a lease that
// is gone refuses the publication under it, and a stamp that is gone makes the values
// that carry it dead. Stamps have no TTL. Every hit reads those of its value, which to the
// server is a use of them: it evicts what was not used for longest, so they stay at least
// as long as a value of their size that is as hot.
//
// # Times
//
// memcached counts in seconds. A TTL is rounded up and one second added, so that an
// entry lives as long as it should and two seconds more at most. One of more than 30
// days is sent as a point in time, for which the clocks of client and server have to
// agree. Nothing lives beyond January 2038, save what has no TTL.
//
// # URLs
//
//	memcached://host[:11211],host,…[?options]
//
// memcacheds is the same over TLS. Options, each once: prefix, lease_ttl, timeout,
// pool_size, max_value_size, chunked=true, compress=true, and with TLS tls_ca (a PEM
// file), tls_server_name, tls_insecure=true. Times are written as in 500ms.
package memcached

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

var _ backend.Backend = (*Backend)(nil)

// ErrConfig is wrapped by the error of a Backend that cannot work as it was
// configured.
var ErrConfig = errors.New("memcached: the configuration is not usable")

// ErrTooLarge is wrapped by the Err of an item whose value is larger than can be
// stored. It was not sent: the server would have removed the old value.
var ErrTooLarge = errors.New("memcached: the value is too large")

// The errors of a server that cannot be used.
var (
	// ErrDown says that a server cannot be reached, or does not answer.
	ErrDown = memcachedio.ErrDown

	// ErrNoCAS says that a server was started without compare-and-swap.
	ErrNoCAS = memcachedio.ErrNoCAS
)

// The defaults of Config.
const (
	DefaultPrefix       = memcachedio.DefaultPrefix
	DefaultTimeout      = memcachedio.DefaultTimeout
	DefaultPoolSize     = memcachedio.DefaultPoolSize
	DefaultMaxValueSize = 1<<20 - 1<<10
	DefaultLeaseTTL     = 10 * time.Second
)

// Config says how a Backend works. All but Servers may be zero.
type Config struct {
	// Servers are the servers: "host:port", "host" with the port 11211, or the path of
	// a Unix socket. Names are looked up whenever a connection is made. Which server
	// has a key depends on these texts, not on their order, so all processes must have
	// the same ones. There must be one.
	Servers []string

	// Prefix is what all keys begin with, followed by a colon, so that several
	// applications can share a server. It has 128 bytes at most and neither spaces nor
	// control characters. Defaults to "dogpile".
	Prefix string

	// LeaseTTL is how long the lease of a process lasts that does not renew it, in
	// whole seconds, rounded up. Leases are renewed every third of it while the creator
	// runs, so it does not limit creators; it is how long others wait for a process that
	// has died. Two seconds at least. Defaults to 10 seconds.
	LeaseTTL time.Duration

	// Timeout is how long a connection may take to be made, and the server to answer.
	// Defaults to 500 milliseconds.
	Timeout time.Duration

	// PoolSize is how many requests to each server may be under way at once; others
	// wait. As many connections are kept for reads, and for writes. From 1 to 10000.
	// Defaults to 64.
	PoolSize int

	// TLS, if it is not nil, is used for all connections.
	TLS *tls.Config

	// MaxValueSize is how many bytes of a value the server takes in one item. It has
	// to be smaller than its limit, which is set with -I, by some hundred bytes for the
	// key and what the server adds. A larger value is not stored, and its item has an
	// Err that wraps [ErrTooLarge]. At least 1024. Defaults to 1 MiB minus 1 KiB.
	MaxValueSize int

	// Chunked stores a larger value in parts, up to 64 of MaxValueSize, and 64 MiB in
	// all. Every process can read them, whatever its own Config says.
	Chunked bool

	// Compress compresses values of a kilobyte and more with DEFLATE, if that makes
	// them smaller. Every process can read them, whatever its own Config says.
	Compress bool
}

// Backend is a backend.Backend of bytes. Open it with [New] or with a URL. All methods
// are safe for concurrent use.
type Backend struct {
	broken error // what is wrong with the configuration
	cfg    Config
	client *memcachedio.Client
	leases *memcachedio.Leases
	last   atomic.Pointer[stampName]
	closed atomic.Bool

	sharing sync.Mutex
	views   map[codec.Layout]*shared
}

// New returns a Backend. It does not wait for the servers, which may be down: the
// backend works as soon as they do.
//
// A Config that cannot work makes a Backend whose every call returns an error that
// wraps [ErrConfig] and says what is wrong; Err returns it, and a region refuses such a
// backend when it is configured.
func New(cfg Config) *Backend {
	if cfg.LeaseTTL == 0 {
		cfg.LeaseTTL = DefaultLeaseTTL
	}
	if cfg.MaxValueSize == 0 {
		cfg.MaxValueSize = DefaultMaxValueSize
	}
	client, err := memcachedio.New(memcachedio.Config{
		Servers:  cfg.Servers,
		Prefix:   cfg.Prefix,
		Timeout:  cfg.Timeout,
		PoolSize: cfg.PoolSize,
		TLS:      cfg.TLS,
		Closed:   backend.ErrClosed,
	})
	switch {
	case err != nil:
	case cfg.LeaseTTL < memcachedio.ShortestTTL:
		err = fmt.Errorf("LeaseTTL is %v; 2 seconds are the least, because memcached counts in seconds", cfg.LeaseTTL)
	case cfg.LeaseTTL > longestLease:
		err = fmt.Errorf("LeaseTTL is %v; a day is the most, and some seconds are sensible", cfg.LeaseTTL)
	case cfg.MaxValueSize < smallestItem:
		err = fmt.Errorf("MaxValueSize is %d; %d are the least", cfg.MaxValueSize, smallestItem)
	case cfg.MaxValueSize > largest:
		err = fmt.Errorf("MaxValueSize is %d; %d are the most", cfg.MaxValueSize, largest)
	}
	if err != nil {
		return &Backend{broken: fmt.Errorf("%w: %w", ErrConfig, err)}
	}
	return &Backend{cfg: cfg, client: client, leases: memcachedio.NewLeases(client, cfg.LeaseTTL)}
}

const (
	longestLease = 24 * time.Hour
	smallestItem = 1 << 10
)

// Err returns what is wrong with the configuration, or nil.
func (b *Backend) Err() error { return b.broken }

// usable returns nil if the backend can be used.
func (b *Backend) usable() error {
	switch {
	case b.broken != nil:
		return b.broken
	case b.closed.Load():
		return backend.ErrClosed
	}
	return nil
}

// Ping asks every server whether it can be reached, for those who would rather not
// start without it. Its errors wrap [ErrDown], [ErrConfig] or [backend.ErrClosed].
func (b *Backend) Ping(ctx context.Context) error {
	if err := b.usable(); err != nil {
		return err
	}
	return b.client.Ping(ctx)
}

// Bytes reports true: entries are kept as bytes.
func (b *Backend) Bytes() bool { return true }

// Wait is Wait of [backend.Backend].
func (b *Backend) Wait(ctx context.Context, keys []backend.Key) error {
	if err := b.usable(); err != nil {
		return err
	}
	return b.leases.Wait(ctx, b.places(keys), memcachedio.Lease)
}

// Close ends the leases of this process and closes its connections. It waits for the
// requests that are under way.
func (b *Backend) Close() error {
	if b.broken != nil || b.closed.Swap(true) {
		return nil
	}
	b.closeViews()
	b.leases.Close()
	b.client.Close()
	return nil
}

func (b *Backend) place(key backend.Key) memcachedio.Place {
	return b.client.Place(key.Region, key.Name)
}

func (b *Backend) places(keys []backend.Key) []memcachedio.Place {
	places := make([]memcachedio.Place, len(keys))
	for i, key := range keys {
		places[i] = b.place(key)
	}
	return places
}

// namesOf returns the names of the stamps of guards. Another kind than that of values
// keeps them apart.
func (b *Backend) namesOf(guards []backend.Guard) []memcachedio.Name {
	if len(guards) == 0 {
		return nil
	}
	names := make([]memcachedio.Name, len(guards))
	for i, guard := range guards {
		names[i] = b.nameOf(guard)
	}
	return names
}

// stampName is the name of the stamps of a region.
type stampName struct {
	region string
	name   memcachedio.Name
}

// nameOf returns the name of the stamps of a guard. Those of tags are on the server that
// has those of their region, whatever the tag, so that a hit needs two servers at most
// and one connection can renew all. The region that was asked for last is most often the
// next one too.
func (b *Backend) nameOf(guard backend.Guard) memcachedio.Name {
	last := b.last.Load()
	if last == nil || last.region != guard.Region {
		p := b.client.Place(guard.Region, "")
		last = &stampName{guard.Region, p.Name(memcachedio.Stamp)}
		b.last.Store(last)
	}
	if guard.Tag == "" {
		return last.name
	}
	p := b.client.Place(guard.Region, guard.Tag)
	return memcachedio.Name{Server: last.name.Server, Text: p.Text(memcachedio.Stamp)}
}
