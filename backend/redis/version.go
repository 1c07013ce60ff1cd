package redis

import (
	"fmt"
	"strconv"
	"strings"
)

// checkVersion returns ErrTooOld if what INFO says names a version before 6.2. A
// server that does not say is taken at its word when it answers.
func checkVersion(info any) error {
	text, _ := info.(string)
	for line := range strings.Lines(text) {
		version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:")
		if !ok {
			continue
		}
		major, rest, _ := strings.Cut(version, ".")
		minor, _, _ := strings.Cut(rest, ".")
		a, err := strconv.Atoi(major)
		b, err2 := strconv.Atoi(minor)
		if err == nil && err2 == nil && (a < 6 || a == 6 && b < 2) {
			return fmt.Errorf("%w: it is %s", ErrTooOld, version)
		}
		break
	}
	return nil
}
