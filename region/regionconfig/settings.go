package regionconfig

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/dogpile-go/dogpile/internal/spelling"
	"github.com/dogpile-go/dogpile/region"
)

// setting is one of [region.RegionSetup].
type setting struct {
	name  string
	field int
}

// settings are those of a region, in their order there.
var settings = func() (list []setting) {
	t := reflect.TypeFor[region.RegionSetup]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		list = append(list, setting{name, i})
	}
	return list
}()

func settingNames() []string {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.name
	}
	return names
}

func settingOf(name string) (setting, bool) {
	for _, s := range settings {
		if s.name == name {
			return s, true
		}
	}
	return setting{}, false
}

// takes is the kind of node that a setting is written as.
func (s setting) takes() kind {
	if _, isBool := reflect.New(reflect.TypeFor[region.RegionSetup]()).Elem().Field(s.field).Interface().(*bool); isBool {
		return boolean
	}
	return text
}

// set sets it from a text.
func (s setting) set(of *region.RegionSetup, value string) error {
	field := reflect.ValueOf(of).Elem().Field(s.field)
	if field.Kind() == reflect.String {
		if value = strings.TrimSpace(value); value == "" {
			return fmt.Errorf("has no value")
		}
		field.SetString(value)
		return nil
	}
	target := reflect.New(field.Type().Elem())
	switch into := target.Interface().(type) {
	case encoding.TextUnmarshaler:
		if err := into.UnmarshalText([]byte(value)); err != nil {
			return err
		}
	case *bool:
		switch strings.ToLower(value) {
		case "true":
			*into = true
		case "false":
		default:
			return fmt.Errorf("%.40q is neither true nor false", value)
		}
	case *int:
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%.40q is no whole number", value)
		}
		*into = n
	}
	field.Set(target)
	return nil
}

// unknown is the error for a name that is not one of names.
func unknown(what, name string, names []string) error {
	if meant := spelling.Nearest(name, names); meant != "" {
		return fmt.Errorf("there is no %s %.60q: did you mean %s?", what, name, meant)
	}
	return fmt.Errorf("there is no %s %.60q: there are %s", what, name, strings.Join(names, ", "))
}
