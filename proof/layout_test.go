package proof

import "strconv"

// layout is which keys and tags a history has. Keys are numbered: those of the region
// first, and then those of the wrapped function, which are its arguments. Key k is in
// group k mod groups, and its values carry the group's tag, and one of the tags left and
// right that the creator chooses.
type layout struct {
	plain, wrapped int // keys
	groups         int
}

var usual = layout{plain: 24, wrapped: 8, groups: 6}

func (l layout) keys() int         { return l.plain + l.wrapped }
func (l layout) leftTag() int      { return l.groups }
func (l layout) rightTag() int     { return l.groups + 1 }
func (l layout) groupOf(k int) int { return k % l.groups }

// tagName is arbitrary bytes: names of tags may be.
func tagName(n int) string { return "tag \x00\xff:" + strconv.Itoa(n) }

func keyName(k int) string { return "key " + strconv.Itoa(k) }

// kills returns which guards of key k an invalidation concerns.
func (l layout) kills(r record, k int) guards {
	target := int(r.target)
	switch r.kind {
	case del, expire, funcInvalidate:
		if target == k {
			return itself
		}
	case hardTag, softTag:
		switch target {
		case l.groupOf(k):
			return group
		case l.leftTag():
			return left
		case l.rightTag():
			return right
		}
	case funcInvalidateAll:
		if k >= l.plain {
			return itself
		}
	case hardRegion, softRegion:
		return itself
	}
	return 0
}
