package compress

import "sync"

// mostKept is the capacity above which a buffer is not kept for the next call. One
// large value should not cost its memory for good.
const mostKept = 4 << 20

// scratches are buffers for frames that are copied when they are whole.
var scratches = sync.Pool{New: func() any { return new(bounded) }}

// scratch returns an empty buffer that takes no more than most bytes, until it is
// freed.
func scratch(most int) *bounded {
	b := scratches.Get().(*bounded)
	if cap(b.buf) < most {
		b.buf = make([]byte, 0, most)
	}
	b.buf, b.most = b.buf[:0], most
	return b
}

func (b *bounded) free() {
	if cap(b.buf) > mostKept {
		b.buf = nil
	}
	scratches.Put(b)
}
