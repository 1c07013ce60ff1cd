package memcachedio

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// The kinds of items. All items of one key have its place.
const (
	Value byte = 'v'
	Lease byte = 'l'
	Stamp byte = 's'
	Part  byte = 'p'
	Mutex byte = 'm'
	Mark  byte = 'w'
)

// longestPrefix leaves room in a key of memcached, which has 250 bytes at most, for
// what follows: the kind, the digest, and the number of a part.
const longestPrefix = 128

// checkPrefix says what is wrong with a prefix, in words that follow it.
func checkPrefix(prefix string) error {
	if len(prefix) > longestPrefix {
		return fmt.Errorf("has %d bytes; %d are the most", len(prefix), longestPrefix)
	}
	for i := range len(prefix) {
		if prefix[i] <= ' ' || prefix[i] == 0x7f {
			return errors.New("has a space or a control character in it, which memcached does not take")
		}
	}
	return nil
}

// digestSize is the length of a SHA-256 digest in base64url.
const digestSize = 43

// Place is where the items of one key are, and what their names have in common.
type Place struct {
	Server *Server
	prefix string
	digest [digestSize]byte
}

// Place returns the place of what two strings name, of which no other two have the
// same one: neither their lengths nor their bytes matter, since all that goes over the
// wire is a digest.
func (c *Client) Place(region, name string) Place {
	var sum [sha256.Size]byte
	if n := 8 + len(region) + len(name); n <= 256 {
		var buffer [256]byte
		b := binary.BigEndian.AppendUint64(buffer[:0], uint64(len(region)))
		b = append(append(b, region...), name...)
		sum = sha256.Sum256(b)
	} else {
		h := sha256.New()
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(region)))
		h.Write(size[:])
		h.Write([]byte(region))
		h.Write([]byte(name))
		h.Sum(sum[:0])
	}
	p := Place{Server: c.servers[0], prefix: c.prefix}
	base64.RawURLEncoding.Encode(p.digest[:], sum[:])
	if len(c.servers) > 1 {
		p.Server = c.pick(binary.LittleEndian.Uint64(sum[:8]))
	}
	return p
}

// pick chooses the server of a digest by rendezvous: the one with the highest score. A
// server that is added takes its share of keys from all others, and moves no other key.
// One that is down is not replaced: what another kept in its place meanwhile would be
// there still when it is down the next time, and would be old.
func (c *Client) pick(digest uint64) *Server {
	var best *Server
	var most uint64
	for _, s := range c.servers {
		if score := mix(digest ^ s.seed); best == nil || score > most {
			best, most = s, score
		}
	}
	return best
}

func seedOf(addr Addr) uint64 {
	sum := sha256.Sum256([]byte(addr.text))
	return binary.LittleEndian.Uint64(sum[:8])
}

// mix spreads the bits of x, so that scores of one digest have nothing to do with each
// other. It is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Text returns the name of the item of a kind.
func (p *Place) Text(kind byte) string {
	var buffer [longestPrefix + 3 + digestSize]byte
	b := append(buffer[:0], p.prefix...)
	b = append(b, ':', kind, ':')
	return string(append(b, p.digest[:]...))
}

// Name returns the name of the item of a kind, with its server.
func (p *Place) Name(kind byte) Name { return Name{p.Server, p.Text(kind)} }

// Mark returns the name of the item that tells that a process writes the item of another
// library with this name. It is the same whatever the prefix, as that item's is.
func (c *Client) Mark(name string) Name {
	p := c.Place("", name)
	p.prefix = DefaultPrefix
	return p.Name(Mark)
}
