package file

import (
	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/filelock"
)

// The suffixes of files. The lease of an entry has its name and a suffix of
// internal/filelock.
const (
	valueSuffix = ".v"
	stampSuffix = ".s"
	leaseSuffix = ".l"
	tempSuffix  = ".t"
)

// The kinds of names, so that a guard is never taken for a key.
const (
	valueKind = 'v'
	stampKind = 's'
)

func (b *Backend) nameOf(key backend.Key) filelock.Name {
	return b.space.NameOf(valueKind, key.Region, key.Name)
}

func (b *Backend) namesOf(keys []backend.Key) []filelock.Name {
	names := make([]filelock.Name, len(keys))
	for i, key := range keys {
		names[i] = b.nameOf(key)
	}
	return names
}

func (b *Backend) stampOf(guard backend.Guard) filelock.Name {
	return b.space.NameOf(stampKind, guard.Region, guard.Tag)
}
