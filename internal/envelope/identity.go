package envelope

import (
	"crypto/sha256"

	"github.com/dogpile-go/dogpile/backend"
)

// Identity tells one stored value from every other one, also from a later one of the
// same key that is the same in all that anybody asks about.
type Identity [16]byte

// IdentityOf returns the identity of data, which [Parse] has accepted. [Expired] does
// not change it.
func IdentityOf(data []byte) (id Identity) {
	var head [headerSize]byte
	copy(head[:], data)
	clear(head[atChecksum:atSchema])
	clear(head[atStamps+len(backend.Stamp{}) : atLength])
	if head[atCost+7]&(nonced>>56) != 0 {
		sum := sha256.Sum256(head[:])
		copy(id[:], sum[:])
		return id
	}
	// A release that did not know of nonces has stored it. Two of its values may differ
	// only in what stands behind the header.
	h := sha256.New()
	h.Write(head[:])
	h.Write(data[headerSize:])
	copy(id[:], h.Sum(nil))
	return id
}
