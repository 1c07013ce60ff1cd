package region

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"

	"github.com/dogpile-go/dogpile/backend"
)

// A value can be invalidated with its region, with a tag, or with the function that it
// is kept for. Each of them is a guard of the backend, and tags and functions are told
// apart by the first byte of the guard's tag. They are no part of a value's schema, so
// an invalidation outlives whatever becomes of values in a deploy.
const (
	tagMark      = '#' // in front of a tag
	functionMark = '(' // in front of a namespace
	digestMark   = '%' // in front of the mark and the digest of what is too long

	// anyTag is renewed with every tag. A creation to which a tag is added late so
	// knows that none was renewed since it began.
	anyTag = "*"
)

// longestPlain is the length up to which a tag stands in the backend as it is, where
// people can read it.
const longestPlain = 96

// guardTag names the guard of a tag or a function.
func guardTag(mark byte, text string) string {
	if len(text) <= longestPlain {
		return string(mark) + text
	}
	sum := sha256.Sum256([]byte(string(mark) + text))
	return string([]byte{digestMark, mark}) + base64.RawURLEncoding.EncodeToString(sum[:])
}

// isFunction reports whether a guard is a function's.
func isFunction(tag string) bool {
	return tag[0] == functionMark || tag[0] == digestMark && tag[1] == functionMark
}

// guardTags is guardTag for tags, each of them once.
func guardTags(tags []string) []string {
	named := make([]string, len(tags))
	for i, tag := range tags {
		named[i] = guardTag(tagMark, tag)
	}
	return unique(named)
}

// guarded returns the guards of the region and of tags.
func (st *state) guarded(tags []string) []backend.Guard {
	if len(tags) == 0 {
		return st.guards
	}
	guards := make([]backend.Guard, 1, 1+len(tags))
	guards[0] = st.guards[0]
	for _, tag := range tags {
		guards = append(guards, backend.Guard{Region: st.region.name, Tag: tag})
	}
	return guards
}

// tagGuards returns the guards of tags alone.
func (st *state) tagGuards(tags []string) []backend.Guard { return st.guarded(tags)[1:] }

// current is what a backend has said about guards.
type current struct {
	guards []backend.Guard
	stamps []backend.Stamps

	at map[string]int // where a tag's stand; made when there are many
}

// region returns the stamps of the region, which is the first guard; zero stamps, which
// are never current, if the backend has returned none.
func (c *current) region() backend.Stamps {
	if len(c.stamps) == 0 {
		return backend.Stamps{}
	}
	return c.stamps[0]
}

// of returns the stamps of a tag. It returns false if they were not asked for.
func (c *current) of(tag string) (stamps backend.Stamps, asked bool) {
	const many = 16
	if len(c.guards) <= many {
		for i := range c.guards {
			if c.guards[i].Tag == tag {
				return c.stampsAt(i), true
			}
		}
		return stamps, false
	}
	if c.at == nil {
		c.at = make(map[string]int, len(c.guards))
		for i := range c.guards {
			c.at[c.guards[i].Tag] = i
		}
	}
	i, asked := c.at[tag]
	if !asked {
		return stamps, false
	}
	return c.stampsAt(i), true
}

func (c *current) stampsAt(i int) backend.Stamps {
	if i >= len(c.stamps) {
		return backend.Stamps{} // the backend has answered for fewer than it was asked
	}
	return c.stamps[i]
}

// are reports whether the stamps of the region and of tags are current. Absent ones are not.
func (c *current) are(region backend.Stamps, tags []backend.Tagged) bool {
	if c.region() != region || region.Hard.IsZero() {
		return false
	}
	for i := range tags {
		if now, _ := c.of(tags[i].Tag); now != tags[i].Stamps || now.Hard.IsZero() {
			return false
		}
	}
	return true
}

// carries reports whether tags are among those that a value has.
func carries(has []backend.Tagged, tags []string) bool {
	for i, tag := range tags {
		// They stand in one order if one wrapper has stored and looks for them.
		if i < len(has) && has[i].Tag == tag {
			continue
		}
		if !slices.ContainsFunc(has, func(t backend.Tagged) bool { return t.Tag == tag }) {
			return false
		}
	}
	return true
}

// live reports whether tags have their stamps still, which are in cells of this process.
func live(tags []backend.Tagged) bool {
	for i := range tags {
		if t := &tags[i]; t.Live == nil || !t.Live.Are(t.Stamps) {
			return false
		}
	}
	return true
}
