package decorate

import (
	"errors"

	"github.com/dogpile-go/dogpile/internal/warming"
	"github.com/dogpile-go/dogpile/region"
)

var errNotWrapped = errors.New("the function is nil or not wrapped; make it with CacheOnArguments or one of its kind")

func (f *Func0[V]) warming() (warming.Source[region.Args0], bool) {
	if f == nil || f.bound == nil {
		return nil, false
	}
	return f.bound.Warming(), true
}

func (f *Func[A, V]) warming() (warming.Source[A], bool) {
	if f == nil || f.bound == nil {
		return nil, false
	}
	return f.bound.Warming(), true
}

func (f *Func2[A, B, V]) warming() (warming.Source[region.Args2[A, B]], bool) {
	if f == nil || f.bound == nil {
		return nil, false
	}
	return f.bound.Warming(), true
}

func (f *Func3[A, B, C, V]) warming() (warming.Source[region.Args3[A, B, C]], bool) {
	if f == nil || f.bound == nil {
		return nil, false
	}
	return f.bound.Warming(), true
}

func (f *Func4[A, B, C, D, V]) warming() (warming.Source[region.Args4[A, B, C, D]], bool) {
	if f == nil || f.bound == nil {
		return nil, false
	}
	return f.bound.Warming(), true
}

func (f *MultiFunc[K, V]) warming() (warming.Source[K], bool) {
	if f == nil || f.bound == nil {
		return nil, false
	}
	return f.bound.Warming(), true
}
