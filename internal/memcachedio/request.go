package memcachedio

import (
	"context"

	"github.com/bradfitz/gomemcache/memcache"
)

// Outcome is what the server says to a request that changes an item.
type Outcome int

const (
	// Failed says that there is an error, and nothing is known.
	Failed Outcome = iota
	// Done says that the request was carried out.
	Done
	// Changed says that the item is not the one it should be: it is there and must
	// not be, or has another CAS id.
	Changed
	// Absent says that there is no item.
	Absent
)

// verdict makes an Outcome of what the library returns.
func verdict(err error) (Outcome, error) {
	switch err {
	case nil:
		return Done, nil
	case memcache.ErrCASConflict, memcache.ErrNotStored:
		return Changed, nil
	case memcache.ErrCacheMiss:
		return Absent, nil
	}
	return Failed, err
}

func change(ctx context.Context, s *Server, f func(*memcache.Client) error) (Outcome, error) {
	_, err := send(ctx, s, func(mc *memcache.Client) (struct{}, error) { return struct{}{}, f(mc) })
	return verdict(err)
}

// Add stores an item where none is. It is Done, or Changed if there is one.
func (s *Server) Add(ctx context.Context, item *memcache.Item) (Outcome, error) {
	return change(ctx, s, func(mc *memcache.Client) error { return mc.Add(item) })
}

// CAS replaces the item that has item.CasID. It is Done, Changed or Absent.
func (s *Server) CAS(ctx context.Context, item *memcache.Item) (Outcome, error) {
	return change(ctx, s, func(mc *memcache.Client) error { return mc.CompareAndSwap(item) })
}

// Put stores an item whatever is there. Its name has to be one that was never used.
func (s *Server) Put(ctx context.Context, item *memcache.Item) error {
	_, err := repeat(ctx, s, func(mc *memcache.Client) (struct{}, error) { return struct{}{}, mc.Set(item) })
	return err
}

// Bump gives an item a new CAS id, so that whoever knows the old one is refused. It is
// Done or Absent.
func (s *Server) Bump(ctx context.Context, name string) (Outcome, error) {
	_, err := repeat(ctx, s, func(mc *memcache.Client) (struct{}, error) {
		return struct{}{}, mc.Append(&memcache.Item{Key: name})
	})
	outcome, err := verdict(err)
	if outcome == Changed {
		outcome = Absent // as append calls it
	}
	return outcome, err
}

// Delete removes an item if there is one.
func (s *Server) Delete(ctx context.Context, name string) error {
	_, err := repeat(ctx, s, func(mc *memcache.Client) (struct{}, error) { return struct{}{}, mc.Delete(name) })
	if err == memcache.ErrCacheMiss {
		return nil
	}
	return err
}

// GetOne reads one item. It is nil if there is none.
func (s *Server) GetOne(ctx context.Context, name string) (*memcache.Item, error) {
	items, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// readRoom is how many keys are asked for in one request. A thousand values of a
// kilobyte are a megabyte.
const readRoom = 1000

// Name is the name of an item and where it is.
type Name struct {
	Server *Server
	Text   string
}

// Read reads items from all the servers that they are on, at the same time. The answer
// has the order of names, with nil for an item that is not there.
func Read(ctx context.Context, names []Name) ([]*memcache.Item, error) {
	if len(names) == 0 {
		return nil, nil
	}
	// Most often all are on one server.
	same := len(names) <= readRoom
	for _, name := range names {
		same = same && name.Server == names[0].Server
	}
	if same {
		texts := make([]string, len(names))
		for i, name := range names {
			texts[i] = name.Text
		}
		return names[0].Server.Get(ctx, texts...)
	}
	items := make([]*memcache.Item, len(names))
	type portion struct {
		server *Server
		texts  []string
		at     []int
	}
	var portions []*portion
	open := map[*Server]*portion{}
	for i, name := range names {
		p := open[name.Server]
		if p == nil || len(p.texts) == readRoom {
			p = &portion{server: name.Server}
			open[name.Server] = p
			portions = append(portions, p)
		}
		p.texts, p.at = append(p.texts, name.Text), append(p.at, i)
	}
	err := Each(ctx, len(portions), func(i int) error {
		p := portions[i]
		found, err := p.server.Get(ctx, p.texts...)
		for j, item := range found {
			items[p.at[j]] = item
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}
