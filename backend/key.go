package backend

// Key names one entry: the region it belongs to and its name there. Regions do
// not share keys, so both parts count.
type Key struct {
	// Region is the name of the region, or that of what belongs to a region: its name, a
	// mark that no region's name has, and more. It contains no colon.
	Region string

	// Name is the key within the region: any string, also an empty one or one
	// of 64 KiB.
	Name string
}

// String returns "region:name". Different keys have different strings, because a
// region's name contains no colon.
func (k Key) String() string { return k.Region + ":" + k.Name }

// Guard names something that can be invalidated as a whole: a region, or, with a
// Tag, what carries that tag within the region.
type Guard struct {
	// Region is the name of the region. It contains no colon.
	Region string

	// Tag is any string of up to 64 KiB; empty means the region itself. Those of
	// package region are short; see there for what they stand for.
	Tag string
}
