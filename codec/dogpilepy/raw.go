package dogpilepy

import (
	"fmt"
	"reflect"

	"github.com/dogpile-go/dogpile/codec"
)

// Raw returns the codec of regions whose serializer in Python leaves values as they are,
// for []byte, string, and types that are made of them: what is stored is the bytes and
// nothing else. So nil and empty are the same, and come back as empty. That is also how it
// differs from codec/raw, which marks what it has written.
func Raw() codec.Codec { return raw{} }

type raw struct{}

// Name returns "dogpilepy-raw".
func (raw) Name() string { return "dogpilepy-raw" }

// Append implements [codec.Codec].
func (raw) Append(dst []byte, v any) ([]byte, error) {
	value := reflect.ValueOf(v)
	if value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	switch {
	case !value.IsValid():
	case value.Kind() == reflect.String:
		return append(dst, value.String()...), nil
	case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Uint8:
		return append(dst, value.Bytes()...), nil
	}
	return dst, fmt.Errorf("dogpilepy: %T is stored raw only if it is []byte or string: %w", v, codec.ErrUnsupported)
}

// Decode implements [codec.Codec].
func (raw) Decode(data []byte, into any) error {
	value := reflect.ValueOf(into)
	if value.Kind() == reflect.Pointer && !value.IsNil() {
		value = value.Elem()
		switch {
		case value.Kind() == reflect.String:
			value.SetString(string(data))
			return nil
		case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Uint8:
			value.SetBytes(append([]byte{}, data...))
			return nil
		}
	}
	return fmt.Errorf("dogpilepy: raw bytes are read into []byte or string, not %T", into)
}
