package dogpilepy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"

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

func (m *machine) integer(op byte) error {
	switch op {
	case opInt, opLong:
		line, err := m.line()
		if err != nil {
			return err
		}
		switch text := string(line[:min(len(line), maxInteger+2)]); {
		case op == opInt && text == "00":
			return m.push(false)
		case op == opInt && text == "01":
			return m.push(true)
		default:
			if op == opLong && len(text) > 0 && text[len(text)-1] == 'L' {
				text = text[:len(text)-1]
			}
			return m.pushDecimal(text)
		}
	case opBinInt:
		b, err := m.take(4)
		if err != nil {
			return err
		}
		return m.push(int64(int32(binary.LittleEndian.Uint32(b))))
	case opBinInt1, opBinInt2:
		n, err := m.length(1 + int(op-opBinInt1)/(opBinInt2-opBinInt1))
		if err != nil {
			return err
		}
		return m.push(int64(n))
	}
	size := 1
	if op == opLong4 {
		size = 4
	}
	n, err := m.length(size)
	if err != nil {
		return err
	}
	if n > maxInteger {
		return fmt.Errorf("it has an integer of %d bytes, more than %d", n, maxInteger)
	}
	b, err := m.take(n)
	if err != nil {
		return err
	}
	return m.pushInteger(twosComplement(b))
}

// twosComplement returns the integer that b is, with the lowest byte first.
func twosComplement(b []byte) *big.Int {
	reversed := make([]byte, len(b))
	for i, c := range b {
		reversed[len(b)-1-i] = c
	}
	n := new(big.Int).SetBytes(reversed)
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// pushDecimal pushes the integer that text is, as Python writes it.
func (m *machine) pushDecimal(text string) error {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > maxInteger || digits[0] == '0' && len(digits) > 1 {
		return fmt.Errorf("%.20q is not an integer, or has more than %d digits", text, maxInteger)
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return fmt.Errorf("%.20q is not an integer", text)
		}
	}
	n, _ := new(big.Int).SetString(text, 10)
	return m.pushInteger(n)
}

func (m *machine) pushInteger(n *big.Int) error {
	if n.IsInt64() {
		return m.push(n.Int64())
	}
	return m.push(n)
}

func (m *machine) float(op byte) error {
	if op == opBinFloat {
		b, err := m.take(8)
		if err != nil {
			return err
		}
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}
	line, err := m.line()
	if err != nil {
		return err
	}
	switch text := string(line[:min(len(line), 64)]); text {
	case "nan":
		return m.push(math.NaN())
	case "inf":
		return m.push(math.Inf(1))
	case "-inf":
		return m.push(math.Inf(-1))
	default:
		number, err := strconv.ParseFloat(text, 64)
		if err != nil || bytes.ContainsFunc([]byte(text), notInFloat) {
			return fmt.Errorf("%.20q is not a float", text)
		}
		return m.push(number)
	}
}

// notInFloat reports whether c is in no float that Python writes. Go reads others too.
func notInFloat(c rune) bool {
	return (c < '0' || c > '9') && c != '.' && c != 'e' && c != '+' && c != '-'
}

func (m *machine) text(op byte) error {
	var b []byte
	var err error
	switch op {
	case opUnicode:
		if b, err = m.line(); err == nil {
			b, err = rawUnicode(b)
		}
	case opShortUnicode:
		b, err = m.sized(1)
	case opBinUnicode:
		b, err = m.sized(4)
	default:
		b, err = m.sized(8)
	}
	if err != nil {
		return err
	}
	if !utf8.Valid(b) {
		return errText
	}
	return m.push(string(b))
}

var errText = errors.New("it has a string that cannot be UTF-8")

// rawUnicode decodes Python's raw-unicode-escape: Latin-1 with \u and \U.
func rawUnicode(line []byte) ([]byte, error) {
	var text []byte
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c != '\\' || i+1 == len(line) {
			text = utf8.AppendRune(text, rune(c))
			continue
		}
		digits := 0
		switch line[i+1] {
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			// Two characters, even if the second one is a backslash as well.
			text = utf8.AppendRune(append(text, '\\'), rune(line[i+1]))
			i++
			continue
		}
		if len(line) < i+2+digits {
			return nil, errText
		}
		r, err := strconv.ParseUint(string(line[i+2:i+2+digits]), 16, 32)
		if err != nil || r > utf8.MaxRune || !utf8.ValidRune(rune(r)) {
			return nil, errText
		}
		text = utf8.AppendRune(text, rune(r))
		i += 1 + digits
	}
	return text, nil
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

// index returns the place in the memo that op is about.
func (m *machine) index(op byte) (int, error) {
	switch op {
	case opBinGet, opBinPut:
		return m.length(1)
	case opLongBinGet, opLongBinPut:
		return m.length(4)
	case opMemoize:
		return m.known, nil
	}
	line, err := m.line()
	if err != nil {
		return 0, err
	}
	i, err := strconv.ParseUint(string(line[:min(len(line), 20)]), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%.20q is no place in its memo", line)
	}
	return int(i), nil
}

func (m *machine) put(op byte) error {
	i, err := m.index(op)
	if err != nil {
		return err
	}
	if len(m.stack) <= m.floor() {
		return errUnderflow
	}
	// Python counts places from 0, and uses a byte at least for each.
	if i >= len(m.data) || i >= maxObjects {
		return fmt.Errorf("it uses place %d of its memo, and cannot have filled those before", i)
	}
	for len(m.memo) <= i {
		m.memo = append(m.memo, absent{})
	}
	if m.memo[i] == (absent{}) {
		m.known++
	}
	m.memo[i] = m.stack[len(m.stack)-1]
	return nil
}

func (m *machine) get(op byte) error {
	i, err := m.index(op)
	if err != nil {
		return err
	}
	if i >= len(m.memo) || m.memo[i] == (absent{}) {
		return fmt.Errorf("its memo has nothing at place %d", i)
	}
	return m.push(m.memo[i])
}

// global reads the name of a class or a function, and refuses all but two.
func (m *machine) global(op byte) error {
	if op == opStackGlobal {
		names, err := m.pop(2)
		if err != nil {
			return err
		}
		module, _ := names[0].(string)
		name, _ := names[1].(string)
		return refusedClass("STACK_GLOBAL", module, name)
	}
	module, err := m.line()
	if err != nil {
		return err
	}
	name, err := m.line()
	if err != nil {
		return err
	}
	switch {
	case string(module) == "_codecs" && string(name) == "encode":
		return m.push(codecsEncode)
	case (string(module) == "__builtin__" || string(module) == "builtins") && string(name) == "bytes":
		return m.push(emptyBytes)
	}
	return refusedClass("GLOBAL", string(module[:min(len(module), 100)]), string(name[:min(len(name), 100)]))
}

func refusedClass(op, module, name string) error {
	return fmt.Errorf("it has the opcode %s with the class or function %.60q of the module %.60q", op, name, module)
}

// reduce makes bytes of a call that Python would make for them, and refuses all others.
func (m *machine) reduce() error {
	call, err := m.pop(2)
	if err != nil {
		return err
	}
	args, isTuple := call[1].(*fill.List)
	if !isTuple || !args.Tuple {
		return errCall
	}
	switch {
	case call[0] == any(emptyBytes) && len(args.Items) == 0:
		return m.push(fill.Bytes(nil))
	case call[0] == any(codecsEncode) && len(args.Items) == 2 && args.Items[1] == any("latin1"):
		text, isText := args.Items[0].(string)
		if !isText {
			return errCall
		}
		// A string that is made into bytes stands in the pickle once.
		size := utf8.RuneCountInString(text)
		if m.encoded += size; m.encoded > len(m.data) {
			return errCall
		}
		b := make(fill.Bytes, 0, size)
		for _, r := range text {
			if r > 0xff {
				return errCall
			}
			b = append(b, byte(r))
		}
		return m.push(b)
	}
	return errCall
}

var errCall = errors.New("it has the opcode REDUCE, with a call that does not make bytes")
