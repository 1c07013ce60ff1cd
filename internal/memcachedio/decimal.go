package memcachedio

import (
	"crypto/rand"
	"fmt"
	"math/big"

	"github.com/bradfitz/gomemcache/memcache"
)

// Clients of memcached in Python take an item with the flags 2 for a number, so a lease
// in a place where they look has to be one.
const (
	numberFlags = 2
	// numberStart is what the numbers of this library begin with: others use small ones.
	numberStart  = "3647"
	numberLength = 40
)

var numberRange = new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(numberLength-len(numberStart))), nil)

func newNumber() string {
	n, err := rand.Int(rand.Reader, numberRange)
	if err != nil {
		panic(err) // it never fails; see crypto/rand
	}
	return fmt.Sprintf("%s%0*s", numberStart, numberLength-len(numberStart), n)
}

// isNumber reports whether an item holds a token that newNumber has made.
func isNumber(item *memcache.Item) bool {
	if item.Flags != numberFlags || len(item.Value) != numberLength || string(item.Value[:len(numberStart)]) != numberStart {
		return false
	}
	for _, c := range item.Value {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
