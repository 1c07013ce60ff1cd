package redis

import (
	"sync/atomic"

	"github.com/dogpile-go/dogpile/backend"
)

// names makes the names of keys. What stands between the braces decides the slot of
// a cluster, so the lease of a value is where the value is.
type names struct {
	value, lock, note, stamp string // what they begin with

	last *atomic.Pointer[stampName] // the one that was asked for last: most often it is the next one too
}

// stampName is the name of the stamps of a guard.
type stampName struct {
	guard backend.Guard
	name  string
}

func newNames(prefix string) names {
	return names{prefix + ":", prefix + ":lock:", prefix + ":note:", prefix + ":stamp:", new(atomic.Pointer[stampName])}
}

func (n names) valueOf(key backend.Key) string {
	return n.value + "{" + escaped(key.Region) + ":" + key.Name + "}"
}

func (n names) lockOf(key backend.Key) string {
	return n.lock + "{" + escaped(key.Region) + ":" + key.Name + "}"
}

// noteOf names what a write leaves for others who write at the same time.
func (n names) noteOf(key backend.Key) string {
	return n.note + "{" + escaped(key.Region) + ":" + key.Name + "}"
}

// stampOf needs no separator for the tag's sake: a region's name has no colon, so
// "{users}" is no tag's.
func (n names) stampOf(guard backend.Guard) string {
	if guard.Tag == "" {
		if last := n.last.Load(); last != nil && last.guard == guard {
			return last.name
		}
		name := n.stamp + "{" + escaped(guard.Region) + "}"
		n.last.Store(&stampName{guard, name})
		return name
	}
	return n.stamp + "{" + escaped(guard.Region) + ":" + guard.Tag + "}"
}

// escaped keeps a region's name from beginning with a closing brace: nothing would
// stand between the braces then, and the whole name would decide the slot.
func escaped(region string) string {
	if region != "" && (region[0] == '}' || region[0] == '%') {
		return "%" + region
	}
	return region
}
