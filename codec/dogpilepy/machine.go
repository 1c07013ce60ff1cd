package dogpilepy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dogpile-go/dogpile/internal/fill"
)

// maxProtocol is the newest protocol of pickles.
const maxProtocol = 5

// class is the name of a class or function of Python. It stands for nothing that could be
// called.
type class string

// Before protocol 3 pickles have no bytes, and Python writes a call that makes them of a
// string. These two calls are recognized; no other name ever gets onto the stack.
const (
	codecsEncode = class("_codecs encode")
	emptyBytes   = class("bytes")
)

// absent stands in the memo for what it does not hold.
type absent struct{}

// machine runs a pickle. What it allocates is bounded by the length of data.
type machine struct {
	data    []byte
	at      int
	stack   []any
	marks   []int // heights of the stack
	memo    []any
	known   int // what memo holds
	objects int
	encoded int // bytes that were made of strings
}

var (
	errEnd       = errors.New("it ends too early")
	errUnderflow = errors.New("it takes from an empty stack")
	errMark      = errors.New("it has no mark where it needs one")
	errObjects   = fmt.Errorf("it has more than %d objects", maxObjects)
)

// run returns the value that the pickle leaves behind.
func (m *machine) run() (any, error) {
	for {
		op, err := m.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == opStop {
			switch {
			case len(m.marks) > 0 || len(m.stack) != 1:
				return nil, fmt.Errorf("it leaves %d values behind, want one", len(m.stack))
			case m.at < len(m.data):
				return nil, fmt.Errorf("%d bytes stand behind its end", len(m.data)-m.at)
			}
			return m.stack[0], nil
		}
		if err := m.step(op[0]); err != nil {
			return nil, fmt.Errorf("at byte %d: %w", m.at, err)
		}
	}
}

// step executes one opcode that is not the end.
func (m *machine) step(op byte) error {
	switch op {
	case opProto:
		b, err := m.take(1)
		if err == nil && b[0] > maxProtocol {
			err = fmt.Errorf("it has the protocol %d, and %d is the newest known", b[0], maxProtocol)
		}
		return err
	case opFrame:
		// Frames are there for reading from files.
		n, err := m.length(8)
		if err == nil && n > len(m.data)-m.at {
			err = errEnd
		}
		return err
	case opMark:
		return m.mark()
	case opPop, opPopMark, opDup:
		return m.shuffle(op)
	case opNone:
		return m.push(nil)
	case opTrue, opFalse:
		return m.push(op == opTrue)
	case opInt, opLong, opBinInt, opBinInt1, opBinInt2, opLong1, opLong4:
		return m.integer(op)
	case opFloat, opBinFloat:
		return m.float(op)
	case opUnicode, opBinUnicode, opShortUnicode, opBinUnicode8:
		return m.text(op)
	case opShortBinBytes, opBinBytes, opBinBytes8, opByteArray8:
		size := map[byte]int{opShortBinBytes: 1, opBinBytes: 4, opBinBytes8: 8, opByteArray8: 8}[op]
		b, err := m.sized(size)
		if err != nil {
			return err
		}
		return m.push(fill.Bytes(b))
	case opEmptyList, opEmptyTuple, opEmptyDict, opList, opTuple, opTuple1, opTuple2, opTuple3, opDict:
		return m.container(op)
	case opAppend, opAppends, opSetItem, opSetItems:
		return m.extend(op)
	case opPut, opBinPut, opLongBinPut, opMemoize:
		return m.put(op)
	case opGet, opBinGet, opLongBinGet:
		return m.get(op)
	case opGlobal, opStackGlobal:
		return m.global(op)
	case opReduce:
		return m.reduce()
	}
	return refusal(op)
}

// take returns the next n bytes.
func (m *machine) take(n int) ([]byte, error) {
	if n > len(m.data)-m.at {
		return nil, errEnd
	}
	m.at += n
	return m.data[m.at-n : m.at], nil
}

// length returns the number that the next size bytes are.
func (m *machine) length(size int) (int, error) {
	b, err := m.take(size)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	n := binary.LittleEndian.Uint64(wide[:])
	if n > math.MaxInt32 { // more than any pickle has bytes
		return 0, fmt.Errorf("it has a length or an index of %d", n)
	}
	return int(n), nil
}

// sized returns bytes whose number is what the next size bytes say.
func (m *machine) sized(size int) ([]byte, error) {
	n, err := m.length(size)
	if err != nil {
		return nil, err
	}
	return m.take(n)
}

// line returns what stands before the next newline.
func (m *machine) line() ([]byte, error) {
	n := bytes.IndexByte(m.data[m.at:], '\n')
	if n < 0 {
		return nil, errEnd
	}
	line, err := m.take(n + 1)
	return line[:n], err
}

func (m *machine) push(x any) error {
	if m.objects++; m.objects > maxObjects {
		return errObjects
	}
	m.stack = append(m.stack, x)
	return nil
}

// floor is the height under which nothing is taken from the stack.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

// pop takes the n topmost values, which are valid until the next push.
func (m *machine) pop(n int) ([]any, error) {
	height := len(m.stack) - n
	if height < m.floor() {
		return nil, errUnderflow
	}
	top := m.stack[height:]
	m.stack = m.stack[:height]
	return top, nil
}

func (m *machine) mark() error {
	if m.objects++; m.objects > maxObjects {
		return errObjects
	}
	m.marks = append(m.marks, len(m.stack))
	return nil
}

// popMark takes the values above the last mark, and the mark.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, errMark
	}
	height := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	top := m.stack[height:]
	m.stack = m.stack[:height]
	return top, nil
}

func (m *machine) shuffle(op byte) error {
	switch {
	case op == opPopMark || op == opPop && len(m.marks) > 0 && m.floor() == len(m.stack):
		_, err := m.popMark()
		return err
	case op == opPop:
		_, err := m.pop(1)
		return err
	}
	if len(m.stack) <= m.floor() {
		return errUnderflow
	}
	return m.push(m.stack[len(m.stack)-1])
}

// container makes a list, a tuple or a dict, of what stands on the stack.
func (m *machine) container(op byte) error {
	var items []any
	var err error
	switch op {
	case opList, opTuple, opDict:
		items, err = m.popMark()
	case opTuple1, opTuple2, opTuple3:
		items, err = m.pop(int(op) - opTuple1 + 1)
	}
	if err != nil {
		return err
	}
	switch op {
	case opEmptyDict, opDict:
		d := &fill.Dict{}
		if err := m.set(d, items); err != nil {
			return err
		}
		return m.push(d)
	}
	tuple := op != opEmptyList && op != opList
	return m.push(&fill.List{Items: append([]any(nil), items...), Tuple: tuple})
}

// extend puts values into a list or a dict that stands under them.
func (m *machine) extend(op byte) error {
	var items []any
	var err error
	switch op {
	case opAppend:
		items, err = m.pop(1)
	case opSetItem:
		items, err = m.pop(2)
	default:
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	if len(m.stack) <= m.floor() {
		return errUnderflow
	}
	switch into := m.stack[len(m.stack)-1].(type) {
	case *fill.List:
		if !into.Tuple && (op == opAppend || op == opAppends) {
			into.Items = append(into.Items, items...)
			return nil
		}
	case *fill.Dict:
		if op == opSetItem || op == opSetItems {
			return m.set(into, items)
		}
	}
	return errors.New("it adds to something that is neither a list nor a dict")
}

func (m *machine) set(d *fill.Dict, pairs []any) error {
	if len(pairs)%2 != 0 {
		return errors.New("it has a dict with a key that has no value")
	}
	for i := 0; i < len(pairs); i += 2 {
		switch key := pairs[i].(type) {
		case *fill.List:
			if !key.Tuple {
				return errors.New("it has a dict with a list as a key")
			}
		case *fill.Dict:
			return errors.New("it has a dict with a dict as a key")
		}
	}
	d.Pairs = append(d.Pairs, pairs...)
	return nil
}
