// Package spelling finds what somebody meant who has mistyped a name.
package spelling

import (
	"fmt"
	"strings"
)

// UnknownOption returns the error for an option that is not one of names.
func UnknownOption(name string, names []string) error {
	list := strings.Join(names, ", ")
	if meant := Nearest(name, names); meant != "" {
		return fmt.Errorf("unknown option %q: did you mean %q? There are %s", name, meant, list)
	}
	return fmt.Errorf("unknown option %q: there are %s", name, list)
}

// Nearest returns the one of names that text was most likely meant to be, or ""
// if none is much like it. Case does not count.
func Nearest(text string, names []string) string {
	best, least := "", 0
	for _, name := range names {
		// A name of which half would have to change is not what was meant.
		most := max(len(text), len(name)) / 2
		if n := edits(strings.ToLower(text), strings.ToLower(name)); n < most && (best == "" || n < least) {
			best, least = name, n
		}
	}
	return best
}

// edits returns how many bytes have to be put in, taken out, replaced, or swapped
// with the next one to make b of a, if no byte is touched twice.
func edits(a, b string) int {
	// before, above and row hold what it takes for the first i-2, i-1 and i bytes
	// of a and all beginnings of b.
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row = above, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := above[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(above[j]+1, row[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
