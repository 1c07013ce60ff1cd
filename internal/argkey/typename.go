package argkey

import (
	"reflect"
	"strconv"
	"strings"
)

// appendType appends the text of a type. It is that of reflect.Type.String, but
// with full package paths, and so that different types have different texts, as
// far as reflect can tell them apart.
func appendType(dst []byte, t reflect.Type) []byte {
	if path := t.PkgPath(); path != "" {
		// Name would do, but it loses its way in type arguments that are
		// structs with brackets in their tags.
		_, name, _ := strings.Cut(t.String(), ".")
		dst = append(dst, path...)
		dst = append(dst, '.')
		return append(dst, name...)
	}
	if name := t.Name(); name != "" {
		return append(dst, name...)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return appendType(append(dst, '*'), t.Elem())
	case reflect.Slice:
		return appendElem(append(dst, "[]"...), t.Elem())
	case reflect.Array:
		dst = strconv.AppendInt(append(dst, '['), int64(t.Len()), 10)
		return appendElem(append(dst, ']'), t.Elem())
	case reflect.Map:
		dst = appendType(append(dst, "map["...), t.Key())
		return appendType(append(dst, ']'), t.Elem())
	case reflect.Struct:
		return appendStructType(dst, t)
	case reflect.Interface:
		return appendInterfaceType(dst, t)
	case reflect.Func: // from here on only inside of other types
		return appendSignature(append(dst, "func"...), t)
	case reflect.Chan:
		dst = append(dst, t.ChanDir().String()...)
		dst = appendType(append(dst, '('), t.Elem())
		return append(dst, ')')
	default:
		return append(dst, t.String()...) // not reached: all other kinds have names
	}
}

// appendElem is appendType with the name that everybody uses for a byte.
func appendElem(dst []byte, t reflect.Type) []byte {
	if t == reflect.TypeFor[byte]() {
		return append(dst, "byte"...)
	}
	return appendType(dst, t)
}

func appendStructType(dst []byte, t reflect.Type) []byte {
	dst = append(dst, "struct{"...)
	for i := range t.NumField() {
		f := t.Field(i)
		if i > 0 {
			dst = append(dst, ';')
		}
		if f.Anonymous {
			dst = append(dst, "embed "...) // struct{T} and struct{T T} are two types
		}
		dst = appendSelector(dst, f.PkgPath, f.Name)
		dst = appendType(append(dst, ' '), f.Type)
		if f.Tag != "" {
			dst = strconv.AppendQuote(append(dst, ' '), string(f.Tag))
		}
	}
	return append(dst, '}')
}

func appendInterfaceType(dst []byte, t reflect.Type) []byte {
	if t.NumMethod() == 0 {
		return append(dst, "any"...)
	}
	dst = append(dst, "interface{"...)
	for i := range t.NumMethod() {
		m := t.Method(i)
		if i > 0 {
			dst = append(dst, ';')
		}
		dst = appendSignature(appendSelector(dst, m.PkgPath, m.Name), m.Type)
	}
	return append(dst, '}')
}

// appendSelector appends the name of a field or method. Unexported names of
// different packages are different.
func appendSelector(dst []byte, path, name string) []byte {
	if path != "" {
		dst = append(strconv.AppendQuote(dst, path), '.')
	}
	return append(dst, name...)
}

func appendSignature(dst []byte, t reflect.Type) []byte {
	dst = append(dst, '(')
	for i := range t.NumIn() {
		if i > 0 {
			dst = append(dst, ',')
		}
		if t.IsVariadic() && i == t.NumIn()-1 {
			dst = appendType(append(dst, "..."...), t.In(i).Elem())
		} else {
			dst = appendType(dst, t.In(i))
		}
	}
	dst = append(dst, ")("...)
	for i := range t.NumOut() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendType(dst, t.Out(i))
	}
	return append(dst, ')')
}
