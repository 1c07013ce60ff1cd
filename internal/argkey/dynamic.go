package argkey

import (
	"reflect"
	"sync"
)

// dynamicType is what is known of a type that was found in an interface.
type dynamicType struct {
	text    string
	refused *refusal // why its values cannot be part of a key
}

var (
	dynamicTypes sync.Map // of *dynamicType by reflect.Type
	typesByText  sync.Map // of reflect.Type by text
)

// dynamic returns the text of a type that was found in an interface, or why it
// is refused.
func dynamic(t reflect.Type) (string, error) {
	known, ok := dynamicTypes.Load(t)
	if !ok {
		d := &dynamicType{text: string(appendType(nil, t)), refused: refuse(t)}
		if d.refused == nil {
			d.refused = claim(d.text, t)
		}
		known, _ = dynamicTypes.LoadOrStore(t, d)
	}
	d := known.(*dynamicType)
	if d.refused != nil {
		r := *d.refused // a copy, as it is about to get the path that led here
		return "", &r
	}
	return d.text, nil
}

// claim makes text stand for t alone. All that is known to be refused here are
// types of the same name declared inside different functions: only the linker
// knows them apart.
func claim(text string, t reflect.Type) *refusal {
	if owner, _ := typesByText.LoadOrStore(text, t); owner != t {
		return &refusal{reason: "two types are called " + text +
			" and cannot be told apart; declare them at package level or"}
	}
	return nil
}
