package file

import (
	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/filelock"
)

// The suffixes of files. The lease of an entry has its name and a suffix of
// internal/filelock.
const (
	valueSuffix = ".v"
	stampSuffix = ".s" // of a region
	tagSuffix   = ".g" // of a tag
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

// stamping is where the stamps of a guard are.
type stamping struct {
	filelock.Name
	suffix string // tells tags from regions, whose stamps are kept for other reasons
}

func (b *Backend) stampOf(guard backend.Guard) stamping {
	s := stamping{b.space.NameOf(stampKind, guard.Region, guard.Tag), stampSuffix}
	if guard.Tag != "" {
		s.suffix = tagSuffix
	}
	return s
}

func (b *Backend) stampsOf(guards []backend.Guard) []stamping {
	all := make([]stamping, len(guards))
	for i, guard := range guards {
		all[i] = b.stampOf(guard)
	}
	return all
}

func (b *Backend) pathOf(s stamping) string { return b.space.Path(s.Name, s.suffix) }

func (s stamping) ofTag() bool { return s.suffix == tagSuffix }

// byFolder calls f for each folder in which some of stamps are, with their places.
func byFolder(stamps []stamping, f func(shard int, places []int) error) error {
	names := make([]filelock.Name, len(stamps))
	for i, s := range stamps {
		names[i] = s.Name
	}
	return filelock.ByShard(names, f)
}
