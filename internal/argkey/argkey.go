// Package argkey turns a function and its arguments into the text of a cache key.
//
// The text of an argument is a Go literal with its type:
//
//	42                                  an int
//	int64(42)                           an int64
//	"a b"                               a string
//	github.com/acme/app/user.ID(7)      a defined type, with its full path
//	user.Filter{City:"Rome",Min:3}      a struct (the path is shortened here)
//	[]int64{1,2}                        a slice, its elements without type
//	[]any{1,int64(2),nil}               interfaces, each with its dynamic type
//	&user.Filter{City:"",Min:0}         a pointer: what it points to
//	(*user.Filter)(nil)
//	[]byte("abc"), [2]byte(0x00ff)
//	time.Time(2024-05-01T12:00:00+02:00[Europe/Rome])
//
// # What the text promises
//
// Two lists of arguments, each joined with commas inside parentheses, have the
// same text only if they have the same types and the same values. So a key can
// never return the value of another one. The text is the same in every process
// that runs the same program: maps are sorted, pointers are followed, and no
// address, no hash and no method of a caller's type takes part in it.
//
// Values are the same when a function that reads them could not tell them apart.
// That is stricter than == and reflect.DeepEqual for floats (-0 differs from 0)
// and it differs from them for these:
//   - All NaNs are the same value.
//   - Pointers are the same when they point to the same values.
//   - Fields named _ are left out, as nothing can read them.
//   - The monotonic reading of a [time.Time] is left out. Its instant, its offset
//     and the name of its location all count.
//
// # What is refused
//
// A type that holds something whose identity is not its content is refused with
// an error that names the field: channels, functions, unsafe.Pointer, everything
// of the packages sync and sync/atomic, [time.Location], and every
// [context.Context]. The rule is about types, so a nil function is refused too,
// and [For] says so before there is a value. Also refused are values nested
// deeper than 100 levels, which includes all that are cyclic.
//
// What cannot be seen cannot be refused: a type that finds its content by
// arithmetic on a pointer, as a string does, counts for what the pointer's type
// says.
//
// # Types declared inside functions
//
// The reflect package gives two types T that are declared in two functions of
// one package the same path and name. Where the static type of an argument says
// which one is meant this does no harm. Where an interface holds them, the first
// one seen in a process keeps the name and values of the other are refused.
package argkey

import "errors"

const (
	// maxDepth is how many values may be inside each other. A pointer and what
	// it points to are two.
	maxDepth = 100

	// maxLen is how many bytes the text of one argument may have. A key is kept
	// for every value, so a longer one is a mistake, or a value that never ends.
	maxLen = 1 << 20
)

// ErrUnsupported is wrapped by the errors about values and types that cannot be
// part of a key. They name the field and say what to do.
var ErrUnsupported = errors.New("cannot be part of a key")

// ErrTooLarge says that the text of an argument would exceed 1 MiB.
var ErrTooLarge = errors.New("the text of the argument exceeds 1 MiB; use region.WithKey to name the value shorter")
