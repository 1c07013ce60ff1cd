package region

import (
	"context"
	"errors"
)

// Notice says that something outside of the program has changed, and what is to be
// invalidated for it. The zero Notice invalidates nothing.
type Notice struct {
	// Region is the name of the region it is about; empty means all regions of the
	// [Invalidator].
	Region string

	// Mode is how Tags, Keys and All are invalidated: with Hard, keys are deleted, with
	// Soft they expire. Zero means Hard.
	Mode Invalidation

	// All invalidates the whole region.
	All bool

	// Tags are invalidated as by [Region.InvalidateTags] or [SoftTags].
	Tags []string

	// Keys are deleted as by [Region.Delete], or expire as by [Region.Expire].
	Keys []string
}

// Invalidator carries out invalidations that come from outside of the program, such as
// from a database that tells of its changes; package regionpg, a module of its own, has
// a source for PostgreSQL. It is made by [NewInvalidator]. All methods are safe for
// concurrent use.
type Invalidator struct {
	regions []*Region
}

// NewInvalidator returns an Invalidator for regions, of which no two may have one name.
// The error wraps [ErrConfig].
func NewInvalidator(regions ...*Region) (*Invalidator, error) {
	return &Invalidator{regions: regions}, nil
}

// Run carries out notices until the channel is closed, and then returns nil, or until
// ctx ends, and then returns its cause. What has failed is told to the region's
// observer, and is done again and again in the background.
func (i *Invalidator) Run(ctx context.Context, notices <-chan Notice) error {
	return errors.New("not yet")
}
