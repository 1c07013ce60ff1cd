package compress

import "errors"

// errNotSmaller says that a frame would be no smaller than what it is made of.
var errNotSmaller = errors.New("not smaller")

// errLength says that a frame holds another number of bytes than was claimed.
var errLength = errors.New("the length is another than the one claimed")

// bounded collects the bytes of a frame as long as they are worth it.
type bounded struct {
	buf  []byte
	most int // buf is not longer
}

// Write appends p, or returns errNotSmaller.
func (b *bounded) Write(p []byte) (int, error) {
	if len(b.buf)+len(p) > b.most {
		return 0, errNotSmaller
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}
