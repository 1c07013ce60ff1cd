package dogpilepy

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrKey is wrapped by the errors of what makes keys.
var ErrKey = errors.New("dogpilepy: no key can be made")

// FunctionKey returns the key that dogpile.cache's function_key_generator makes for a
// function that is decorated with cache_on_arguments, and called with args:
//
//	app.users:load|5 en        FunctionKey("app.users:load", "", 5, "en")
//	app.users:load|v2|5 en     FunctionKey("app.users:load", "v2", 5, "en")
//
// function is its module and its name; a method has no class in it, and its self is not
// among args. namespace is that of the decorator, and "" if it has none. The arguments are
// written by [AppendStr]. As in Python, nothing tells f("a b") from f("a", "b"), or f(1)
// from f("1").
//
// The key has spaces in it as soon as there are two arguments, which memcached does not
// take: regions there need a key mangler.
func FunctionKey(function, namespace string, args ...any) (string, error) {
	key, err := appendFunction(nil, function, namespace)
	if err != nil {
		return "", err
	}
	key, err = appendArgs(key, args)
	if err != nil {
		return "", fmt.Errorf("%w for %s: %w", ErrKey, function, err)
	}
	return string(key), nil
}

// FunctionMultiKeys returns the keys that dogpile.cache's function_multi_key_generator makes
// for a function that is decorated with cache_multi_on_arguments: one for each of args.
func FunctionMultiKeys(function, namespace string, args ...any) ([]string, error) {
	prefix, err := appendFunction(nil, function, namespace)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(args))
	for i, arg := range args {
		key, err := AppendStr(prefix, arg)
		if err != nil {
			return nil, fmt.Errorf("%w for %s: argument %d: %w", ErrKey, function, i+1, err)
		}
		keys[i] = string(key)
	}
	return keys, nil
}

// KwargFunctionKey returns the key that dogpile.cache's kwarg_function_key_generator makes:
// the values of all parameters of the function, defaults among them, in the order of their
// names. names are those of args.
func KwargFunctionKey(function, namespace string, names []string, args ...any) (string, error) {
	if len(names) != len(args) {
		return "", fmt.Errorf("%w for %.200s: there are %d names for %d arguments", ErrKey, function, len(names), len(args))
	}
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	// Python compares strings by code points, which is the order of their UTF-8.
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	sorted := make([]any, len(args))
	for i, at := range order {
		if i > 0 && names[at] == names[order[i-1]] {
			return "", fmt.Errorf("%w for %.200s: the name %.60q is given twice", ErrKey, function, names[at])
		}
		sorted[i] = args[at]
	}
	return FunctionKey(function, namespace, sorted...)
}

// appendFunction appends what all keys of a function begin with.
func appendFunction(dst []byte, function, namespace string) ([]byte, error) {
	module, name, found := strings.Cut(function, ":")
	if !found || module == "" || name == "" {
		return dst, fmt.Errorf("%w: the function is %.200q: write its module, a colon and its name, such as \"app.users:load\"", ErrKey, function)
	}
	if !utf8.ValidString(function) || !utf8.ValidString(namespace) {
		return dst, fmt.Errorf("%w for %.200q: it is not UTF-8", ErrKey, function)
	}
	dst = append(dst, function...)
	if namespace != "" {
		dst = append(append(dst, '|'), namespace...)
	}
	return append(dst, '|'), nil
}

func appendArgs(dst []byte, args []any) ([]byte, error) {
	for i, arg := range args {
		if i > 0 {
			dst = append(dst, ' ')
		}
		var err error
		if dst, err = AppendStr(dst, arg); err != nil {
			return dst, fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return dst, nil
}

// Str returns what [AppendStr] appends.
func Str(v any) (string, error) {
	text, err := AppendStr(nil, v)
	return string(text), err
}

// AppendStr appends what Python's str makes of the value that v is there, which is how
// dogpile.cache writes arguments in keys:
//
//	nil, nil pointers          None
//	true, false                True, False
//	integers, *big.Int         5
//	float64                    1.0, 1e+16, 1e-05, inf, nan
//	string                     as it is
//	[]byte                     b'\x00a'
//
// A float32 is written with the fewest digits that tell it from others, as numpy does: 0.1
// for float32(0.1). Pointers are followed, and types with a name count as what they are made
// of: a time.Duration is its number. For anything else, and for strings that are not UTF-8,
// it returns an error that wraps [ErrKey] and dst as it was; a key for those is made with
// region.WithKey. It does not allocate where dst has room, but for big.Int.
func AppendStr(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "None"...), nil
	case string:
		return appendText(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	}
	return appendValue(dst, reflect.ValueOf(v))
}

// maxPointers is how far pointers are followed. Some types point to themselves.
const maxPointers = 16

func appendValue(dst []byte, v reflect.Value) ([]byte, error) {
	typ := v.Type()
	for range maxPointers {
		if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
			break
		}
		if v.IsNil() {
			return append(dst, "None"...), nil
		}
		if v.Type() == reflect.TypeFor[*big.Int]() && v.CanInterface() {
			return v.Interface().(*big.Int).Append(dst, 10), nil
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(dst, "True"...), nil
		}
		return append(dst, "False"...), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	case reflect.Float32, reflect.Float64:
		return appendFloat(dst, v.Float(), v.Type().Bits()), nil
	case reflect.String:
		return appendText(dst, v.String())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return appendBytes(dst, v.Bytes()), nil
		}
	}
	return dst, fmt.Errorf("%w: nobody knows what Python's str makes of a %v: make the key with region.WithKey", ErrKey, typ)
}

func appendText(dst []byte, text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return dst, fmt.Errorf("%w: the string %.60q is not UTF-8: pass it as []byte if Python has bytes there, or make the key with region.WithKey", ErrKey, text)
	}
	return append(dst, text...), nil
}

// appendBytes appends the literal that Python writes for bytes.
func appendBytes(dst, data []byte) []byte {
	quote := byte('\'')
	if slices.Contains(data, '\'') && !slices.Contains(data, '"') {
		quote = '"'
	}
	dst = append(dst, 'b', quote)
	for _, c := range data {
		switch {
		case c == quote || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c < ' ' || c > '~':
			const digits = "0123456789abcdef"
			dst = append(dst, '\\', 'x', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, quote)
}
