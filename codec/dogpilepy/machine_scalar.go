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
)

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
