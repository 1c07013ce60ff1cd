package redis

import "github.com/dogpile-go/dogpile/backend"

// names makes the names of keys. What stands between the braces decides the slot of
// a cluster, so the lease of a value is where the value is.
type names struct {
	value, lock, stamp string // what they begin with
}

func newNames(prefix string) names {
	return names{prefix + ":", prefix + ":lock:", prefix + ":stamp:"}
}

func (n names) valueOf(key backend.Key) string {
	return n.value + "{" + escaped(key.Region) + ":" + key.Name + "}"
}

func (n names) lockOf(key backend.Key) string {
	return n.lock + "{" + escaped(key.Region) + ":" + key.Name + "}"
}

// stampOf needs no separator for the tag's sake: a region's name has no colon, so
// "{users}" is no tag's.
func (n names) stampOf(guard backend.Guard) string {
	if guard.Tag == "" {
		return n.stamp + "{" + escaped(guard.Region) + "}"
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
