package dogpilepy

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/dogpile-go/dogpile/internal/fill"
)

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
