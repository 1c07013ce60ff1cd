package argkey

import (
	"reflect"
	"strconv"
	"time"
)

// appendArgument appends the text of the addressable value v. Its type has the
// given text and is not refused, unless it is an interface, whose own type does
// not count.
func appendArgument(dst []byte, v reflect.Value, text string) ([]byte, error) {
	w := writer{dst: dst, limit: len(dst) + maxLen}
	if err := w.argument(v, text); err != nil {
		return dst, err
	}
	if len(w.dst) > w.limit {
		return dst, ErrTooLarge
	}
	return w.dst, nil
}

// writer writes the text of one argument.
//
// All values it is given are free of the mark that reflect puts on what was
// reached through an unexported field; fields sees to that.
type writer struct {
	dst   []byte
	limit int // of len(dst)
	depth int // how many values enclose the current one
}

func (w *writer) argument(v reflect.Value, text string) error {
	if v.Kind() == reflect.Interface {
		if v.IsNil() {
			w.add("nil")
			return nil
		}
		v = v.Elem()
		var err error
		if text, err = dynamic(v.Type()); err != nil {
			return withinArgument(v.Type(), err)
		}
	}
	return withinArgument(v.Type(), w.typed(v, text))
}

// typed writes v so that its type can be read from the text.
func (w *writer) typed(v reflect.Value, text string) error {
	switch t := v.Type(); {
	case t == reflect.TypeFor[int](), t == reflect.TypeFor[string](), t == reflect.TypeFor[bool]():
		return w.bare(v)
	case t.Kind() == reflect.Pointer && t.Name() == "":
		if v.IsNil() {
			w.add("(", text, ")(nil)")
			return nil
		}
		w.add("&")
		return w.typed(v.Elem(), text[len("*"):])
	case braced(v):
		w.add(text)
		return w.bare(v)
	default:
		w.add(text, "(")
		err := w.bare(v)
		w.add(")")
		return err
	}
}

// braced reports whether the bare text of v begins with a brace.
func braced(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct:
		return !definedOn(v.Type(), timeType)
	case reflect.Array:
		return !ofBytes(v.Type())
	case reflect.Slice:
		return !v.IsNil() && !ofBytes(v.Type())
	case reflect.Map:
		return !v.IsNil()
	}
	return false
}

// bare writes v without its type, which the reader knows from the context.
func (w *writer) bare(v reflect.Value) error {
	if len(w.dst) > w.limit {
		return ErrTooLarge
	}
	if w.depth == maxDepth {
		return &refusal{reason: "a value nested more than 100 levels deep, or in itself, cannot be part of a key;"}
	}
	w.depth++
	err := w.content(v)
	w.depth--
	return err
}

func (w *writer) content(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Bool:
		w.dst = strconv.AppendBool(w.dst, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if v.Type() == durationType {
			w.add(time.Duration(v.Int()).String()) // exact, to the nanosecond
		} else {
			w.dst = strconv.AppendInt(w.dst, v.Int(), 10)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		w.dst = strconv.AppendUint(w.dst, v.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		w.dst = strconv.AppendFloat(w.dst, v.Float(), 'g', -1, v.Type().Bits())
	case reflect.Complex64, reflect.Complex128:
		w.add(strconv.FormatComplex(v.Complex(), 'g', -1, v.Type().Bits()))
	case reflect.String:
		if v.Len() > maxLen {
			return ErrTooLarge
		}
		w.dst = appendQuoted(w.dst, v.String())
	case reflect.Interface:
		return w.inInterface(v)
	case reflect.Pointer:
		if v.IsNil() {
			w.add("nil")
			return nil
		}
		w.add("&")
		return w.bare(v.Elem())
	default:
		return w.composite(v)
	}
	return nil
}

func (w *writer) inInterface(v reflect.Value) error {
	if v.IsNil() {
		w.add("nil")
		return nil
	}
	v = v.Elem()
	text, err := dynamic(v.Type())
	if err == nil {
		err = w.typed(v, text)
	}
	if err != nil {
		return within(".("+v.Type().String()+")", err)
	}
	return nil
}

func (w *writer) add(text ...string) {
	for _, s := range text {
		w.dst = append(w.dst, s...)
	}
}
