package region

import (
	"errors"
	"fmt"
)

// MaxTags is how many tags a value can have, by whatever way it got them. Every hit has
// to ask for the stamps of all of them.
const MaxTags = 1000

func tooManyTags(n int) error {
	return fmt.Errorf("a value has %d tags; %d are the most", n, MaxTags)
}

// TagsOption is an option for calls, reads, writes and wrappers.
type TagsOption struct{ tags []string }

// WithTags gives tags to the value that is stored, so that [Region.InvalidateTags] and
// [SoftTags] invalidate it with all others that have one of them. A tag is any string.
// Several WithTags add up; without any tag the call returns an error, and so it does
// with more than [MaxTags].
//
// For a read the tags are those that the value is expected to have, and their stamps
// are read together with it, in one round trip; those that it has besides, because its
// creator added them, cost another one. A stored value that lacks one of them does not
// count, because nobody can say whether it was invalidated. So all calls for a key
// should give the same tags, or none.
func WithTags(tags ...string) TagsOption { return TagsOption{guardTags(tags)} }

func (o TagsOption) set(s *settings) {
	if len(o.tags) == 0 {
		s.wrong = errors.New("WithTags needs at least one tag")
		return
	}
	s.addTags(o.tags)
}
func (TagsOption) forCall() {}
func (TagsOption) forGet()  {}
func (TagsOption) forSet()  {}

// WithTagsFunc gives a wrapped function's values tags that depend on its arguments. tags
// is a function of the same arguments, without the context, that returns the tags:
// func(id int64) []string; of a function for many ids it takes one of them. It is called
// at every call, and it may return none. The rest is as for [WithTags].
func WithTagsFunc(tags any) WrapOption {
	return WrapOption{func(s *settings) {
		if tags == nil {
			s.wrong = errors.New("WithTagsFunc needs a function")
		}
		s.tagsOf = tags
	}}
}

// guardsOption adds guards by the names that they have in the backend.
type guardsOption []string

func (o guardsOption) set(s *settings) { s.addTags(o) }
func (guardsOption) forCall()          {}
func (guardsOption) forGet()           {}
func (guardsOption) forSet()           {}

// eachOption gives every key tags of its own.
type eachOption func(key string) []string

func (o eachOption) set(s *settings) { s.eachTags = o }
func (eachOption) forCall()          {}
func (eachOption) forGet()           {}
func (eachOption) forSet()           {}

func (s *settings) addTags(tags []string) {
	if len(s.tags) == 0 {
		s.tags = tags
	} else {
		s.tags = unique(append(s.tags[:len(s.tags):len(s.tags)], tags...))
	}
}

// countTags returns how many of the guards of a value are tags; functions do not count.
func countTags(guards []string) (n int) {
	for _, tag := range guards {
		if !isFunction(tag) {
			n++
		}
	}
	return n
}

// wants returns the tags that the value of key is to have, by the names of their guards.
func (s *settings) wants(key string) []string {
	if s.eachTags == nil {
		return s.tags
	}
	own := s.eachTags(key)
	if len(s.tags) == 0 {
		return own
	}
	return unique(append(s.tags[:len(s.tags):len(s.tags)], own...))
}

// allWanted returns the tags that the values of keys are to have, all together.
func (s *settings) allWanted(keys []string) []string {
	if s.eachTags == nil {
		return s.tags
	}
	all := s.tags[:len(s.tags):len(s.tags)]
	for _, key := range keys {
		all = append(all, s.eachTags(key)...)
	}
	return unique(all)
}

// checkTags returns an error if a key is to have too many tags.
func (s *settings) checkTags(keys []string) error {
	if s.eachTags == nil {
		return nil
	}
	for _, key := range keys {
		if n := countTags(s.wants(key)); n > MaxTags {
			return fmt.Errorf("%w: %w", ErrConfig, tooManyTags(n))
		}
	}
	return nil
}
