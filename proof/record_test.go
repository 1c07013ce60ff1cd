package proof

// kind is what a record tells of.
type kind uint8

const (
	none kind = iota // a record that nobody has filled yet

	// Reads. One that found nothing is not checked: a miss is always legal.
	getOrCreate
	getOrCreateMulti
	get
	call
	funcGet

	// Writes.
	set
	funcSet

	// Invalidations.
	del
	expire
	funcInvalidate
	funcInvalidateAll
	hardTag
	softTag
	hardRegion
	softRegion

	// The run of a creator for one key.
	creation

	// A created value was not stored because tags that its creator added might have
	// been invalidated meanwhile.
	unproved
)

var kindNames = [...]string{
	none: "nothing", getOrCreate: "GetOrCreate", getOrCreateMulti: "GetOrCreateMulti", get: "Get", call: "Func.Call",
	funcGet: "Func.Get", set: "Set", funcSet: "Func.Set", del: "Delete", expire: "Expire", funcInvalidate: "Func.Invalidate",
	funcInvalidateAll: "Func.InvalidateAll", hardTag: "InvalidateTags", softTag: "SoftTags", hardRegion: "Invalidate(Hard)",
	softRegion: "Invalidate(Soft)", creation: "the creator", unproved: "an unproved value",
}

func (k kind) String() string    { return kindNames[k] }
func (k kind) reads() bool       { return k >= getOrCreate && k <= funcGet }
func (k kind) writes() bool      { return k == set || k == funcSet }
func (k kind) invalidates() bool { return k >= del && k <= softRegion }

// record is one operation on one key, or on a whole tag, function or region, as the
// client that made it has seen it. An operation on several keys has a record for each,
// with the same ticks.
type record struct {
	kind    kind
	process uint8
	client  uint8
	flags   flags
	target  int32 // the key, or the number of the tag
	call    int64 // the tick before it
	ret     int64 // the tick after it; 0 if it never returned
	value   value // what was read or set
}

// flags say more of a record.
type flags uint8

const (
	found  flags = 1 << iota // a read has returned a value
	failed                   // it returned an error, as the workload wanted it to
)

// value is what is cached: it tells of itself when it began.
type value struct {
	// Began is the tick at which the value's creator began, or its Set was called.
	Began int64

	// Set says that it was given to Set.
	Set bool

	// Carries says what it is invalidated with: a set of the guards of its key.
	Carries guards
}

// guards is a set of what values of one key can be invalidated with.
type guards uint8

const (
	itself guards = 1 << iota // the key, its function, its region: every value of the key
	group                     // the tag that the key shares with some others
	left                      // tags of which the creator chooses one
	right

	guardCount = 4
)
