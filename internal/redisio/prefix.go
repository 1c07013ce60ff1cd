package redisio

import (
	"errors"
	"fmt"
	"strings"
)

// LongestPrefix is how many bytes the prefix of keys may have.
const LongestPrefix = 128

// CheckPrefix says what is wrong with the prefix of keys, in words that follow it, or
// returns nil. Its rules keep the keys of one prefix from being those of another, and
// the part of a key that decides its slot from being cut by the prefix.
func CheckPrefix(prefix string) error {
	if len(prefix) > LongestPrefix {
		return fmt.Errorf("has %d bytes; %d are the most", len(prefix), LongestPrefix)
	}
	if strings.ContainsAny(prefix, "{}") {
		return errors.New("has a brace in it; braces mark the part of a key that decides its slot")
	}
	for _, end := range []string{":lock", ":note", ":stamp", ":mutex"} {
		if strings.HasSuffix(prefix, end) {
			return fmt.Errorf("ends like the keys of another prefix; leave off %s", end)
		}
	}
	return nil
}
