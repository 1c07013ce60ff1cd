package redis

import (
	"strings"
	"sync/atomic"

	"github.com/dogpile-go/dogpile/backend"
)

// names makes the names of keys. What stands between the braces decides the slot of
// a cluster, so the lease of a value is where the value is.
type names struct {
	value, lock, note, stamp string // what they begin with

	last *atomic.Pointer[stampName] // the one that was asked for last: most often it is the next one too
}

// stampName is the name of the stamps of a region.
type stampName struct {
	region, name string
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

// stampOf names the stamps of a guard. All of a region are in the slot of that region, so
// one script can name them. A region's name has no colon, so the first one after the braces
// is where the tag begins, whatever that has in it.
func (n names) stampOf(guard backend.Guard) string {
	name := n.stampOfRegion(guard.Region)
	if guard.Tag == "" {
		return name
	}
	return name + ":" + guard.Tag
}

func (n names) stampOfRegion(region string) string {
	if last := n.last.Load(); last != nil && last.region == region {
		return last.name
	}
	between := escaped(region)
	if between == "" {
		between = "%" // or the whole name would decide the slot
	}
	name := n.stamp + "{" + between + "}"
	n.last.Store(&stampName{region, name})
	return name
}

// appendStamps appends the names of the stamps of guards to list. Those of tags that stand
// together are one piece of memory.
func (n names) appendStamps(list []string, guards []backend.Guard) []string {
	for len(guards) > 0 {
		region, size, same := n.stampOfRegion(guards[0].Region), 0, 0
		for _, guard := range guards {
			if guard.Region != guards[0].Region {
				break
			}
			if same++; guard.Tag != "" {
				size += len(region) + 1 + len(guard.Tag)
			}
		}
		var all strings.Builder
		all.Grow(size)
		for _, guard := range guards[:same] {
			if guard.Tag == "" {
				list = append(list, region)
				continue
			}
			from := all.Len()
			all.WriteString(region)
			all.WriteByte(':')
			all.WriteString(guard.Tag)
			list = append(list, all.String()[from:])
		}
		guards = guards[same:]
	}
	return list
}

// escaped keeps a region's name from beginning with a closing brace: nothing would
// stand between the braces then, and the whole name would decide the slot.
func escaped(region string) string {
	if region != "" && (region[0] == '}' || region[0] == '%') {
		return "%" + region
	}
	return region
}
