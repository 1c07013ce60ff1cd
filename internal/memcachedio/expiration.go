package memcachedio

import (
	"math"
	"time"
)

// longestRelative is the most seconds that memcached takes for a duration. A larger
// number is a time: seconds since 1970.
const longestRelative = 30 * 24 * 60 * 60

// Expiration returns what memcached is told so that an item lives for ttl at least, and
// for two seconds more at most. Zero is for ever. The server counts in ticks of its
// own of a second, so an item with n seconds lives between n-1 and n: one is added to
// the seconds that ttl begins.
//
// The number has 31 bits, so what would live beyond January 2038 ends then.
func Expiration(ttl time.Duration, now time.Time) int32 {
	if ttl == 0 {
		return 0
	}
	return until(seconds(ttl)+1, now)
}

// LeaseExpiration is [Expiration] for leases: those must be over when ttl is.
func LeaseExpiration(ttl time.Duration, now time.Time) int32 {
	return until(seconds(ttl), now)
}

// seconds returns the seconds that ttl begins.
func seconds(ttl time.Duration) int64 {
	n := int64(ttl / time.Second)
	if ttl%time.Second != 0 {
		n++
	}
	return max(n, 1)
}

func until(seconds int64, now time.Time) int32 {
	if seconds <= longestRelative {
		return int32(seconds)
	}
	if end := now.Unix() + seconds; end <= math.MaxInt32 {
		return int32(end)
	}
	if now.Unix()+longestRelative < math.MaxInt32 {
		return math.MaxInt32
	}
	return longestRelative
}
