package dogpilepy

import "fmt"

// The opcodes of pickles that are understood.
const (
	opMark          = '('
	opStop          = '.'
	opPop           = '0'
	opPopMark       = '1'
	opDup           = '2'
	opFloat         = 'F'
	opInt           = 'I'
	opBinInt        = 'J'
	opBinInt1       = 'K'
	opLong          = 'L'
	opBinInt2       = 'M'
	opNone          = 'N'
	opReduce        = 'R'
	opUnicode       = 'V'
	opBinUnicode    = 'X'
	opAppend        = 'a'
	opGlobal        = 'c'
	opDict          = 'd'
	opEmptyDict     = '}'
	opAppends       = 'e'
	opGet           = 'g'
	opBinGet        = 'h'
	opLongBinGet    = 'j'
	opList          = 'l'
	opEmptyList     = ']'
	opPut           = 'p'
	opBinPut        = 'q'
	opLongBinPut    = 'r'
	opSetItem       = 's'
	opTuple         = 't'
	opEmptyTuple    = ')'
	opSetItems      = 'u'
	opBinFloat      = 'G'
	opBinBytes      = 'B'
	opShortBinBytes = 'C'
	opProto         = 0x80
	opTuple1        = 0x85
	opTuple2        = 0x86
	opTuple3        = 0x87
	opTrue          = 0x88
	opFalse         = 0x89
	opLong1         = 0x8a
	opLong4         = 0x8b
	opShortUnicode  = 0x8c
	opBinUnicode8   = 0x8d
	opBinBytes8     = 0x8e
	opStackGlobal   = 0x93
	opMemoize       = 0x94
	opFrame         = 0x95
	opByteArray8    = 0x96
)

// refused names the opcodes that are not, for errors.
var refused = map[byte]string{
	'b':  "BUILD, which sets the state of an object",
	'i':  "INST, an instance of a class",
	'o':  "OBJ, an instance of a class",
	0x81: "NEWOBJ, an instance of a class",
	0x92: "NEWOBJ_EX, an instance of a class",
	'P':  "PERSID, an object that is stored elsewhere",
	'Q':  "BINPERSID, an object that is stored elsewhere",
	0x82: "EXT1, a class from a registry",
	0x83: "EXT2, a class from a registry",
	0x84: "EXT4, a class from a registry",
	0x97: "NEXT_BUFFER, bytes that are stored elsewhere",
	0x98: "READONLY_BUFFER, bytes that are stored elsewhere",
	0x8f: "EMPTY_SET, a set",
	0x90: "ADDITEMS, a set",
	0x91: "FROZENSET, a set",
	'S':  "STRING, a string of Python 2",
	'T':  "BINSTRING, a string of Python 2",
	'U':  "SHORT_BINSTRING, a string of Python 2",
}

// refusal is the error for an opcode that is not understood.
func refusal(op byte) error {
	if name := refused[op]; name != "" {
		return fmt.Errorf("it has the opcode %s", name)
	}
	return fmt.Errorf("there is no opcode %#02x", op)
}
