package backendtest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

func bytesIsConstant(t *trial) {
	before := t.a.Bytes()
	t.set(t.a, user("ann"), "Ann")
	if t.a.Bytes() != before || t.b.Bytes() != before {
		t.Fatal("Bytes changes its answer")
	}
}

func setGetDelete(t *trial) {
	ann := user("ann")
	t.holds(ann, says(nil))
	t.set(t.a, ann, "Ann")
	t.holds(ann, "Ann")
	t.set(t.b, ann, "Ann Lee")
	t.holds(ann, "Ann Lee")
	t.delete(t.a, ann)
	t.holds(ann, says(nil))
	t.delete(t.b, ann)
	t.set(t.a, ann, "Ann again")
	t.holds(ann, "Ann again")
}

func entryIsReturnedAsGiven(t *trial) {
	stamps := backend.Stamps{Hard: backend.NewStamp(), Soft: backend.NewStamp()}
	value := "a value"
	var none *string
	tags := []backend.Tagged{{Tag: "a", Stamps: stamps}, {Tag: "\x00\xff", Stamps: stamps}}
	given := []*backend.Entry{
		{Value: &value, Created: time.Now(), Cost: 3 * time.Millisecond, Expiration: time.Hour, Stamps: stamps},
		{Value: &none, Created: time.Now().Add(-time.Hour), Expiration: -1},
		{NotFound: true, Created: time.Now(), Stamps: stamps, Tags: tags},
	}
	if t.a.Bytes() {
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		given = []*backend.Entry{
			{Data: []byte{0}}, {Data: all}, {Data: []byte("END\r\nVALUE x 0 1\r\n")}, {Data: bytes.Repeat(all, 256)},
		}
	}
	for i, want := range given {
		copied := *want
		copied.Data = bytes.Clone(want.Data)
		copied.Tags = slices.Clone(want.Tags)
		key := user(strings.Repeat("x", i))
		t.must(t.put(t.a, backend.Item{Key: key, Entry: want}))

		check := func(how string, got *backend.Entry) {
			t.Helper()
			if t.storesNothing {
				if got != nil {
					t.Errorf("%s found an entry", how)
				}
				return
			}
			if got == nil {
				t.Errorf("%s did not find entry %d", how, i)
				return
			}
			if got.Value != copied.Value || !bytes.Equal(got.Data, copied.Data) || !got.Created.Equal(copied.Created) ||
				got.Cost != copied.Cost || got.Expiration != copied.Expiration || got.NotFound != copied.NotFound || got.Stamps != copied.Stamps || !slices.Equal(got.Tags, copied.Tags) {
				t.Errorf("%s returned the entry %+v, want %+v", how, *got, copied)
			}
		}
		found, err := t.b.Get(t.ctx, key, nil)
		t.must(err)
		check("Get", found.Entry)
		several, _, err := t.b.GetMulti(t.ctx, []backend.Key{key}, nil)
		t.must(err)
		check("GetMulti", several[0])
		grant := t.grants(t.b, key)[0]
		check("Acquire", grant.Entry)
	}
}

func getMultiKeepsOrder(t *trial) {
	t.set(t.a, user("one"), "1")
	t.set(t.a, user("two"), "2")
	t.set(t.a, user("three"), "3")
	guards := []backend.Guard{{Region: "users"}, {Region: "users", Tag: "x"}, {Region: "posts"}}
	current, err := t.a.Stamps(t.ctx, guards)
	t.must(err)

	names := []string{"missing", "three", "one", "missing too", "two", "three"}
	want := []string{says(nil), "3", "1", says(nil), "2", "3"}
	found, stamps, err := t.b.GetMulti(t.ctx, users(names...), guards)
	t.must(err)
	if len(found) != len(names) {
		t.Fatalf("GetMulti of %d keys returned %d entries", len(names), len(found))
	}
	for i := range names {
		if got := says(found[i]); got != t.kept(want[i]) {
			t.Errorf("GetMulti returned %q for key %d, %q; want %q", got, i, names[i], t.kept(want[i]))
		}
	}
	t.sameStamps("GetMulti", stamps, current)
}

func emptyCalls(t *trial) {
	guards := []backend.Guard{{Region: "users"}}
	t.set(t.a, user("ann"), "Ann")

	found, err := t.a.Get(t.ctx, user("ann"), nil)
	if err != nil || len(found.Stamps) != 0 {
		t.Errorf("Get without guards = %d stamps, %v", len(found.Stamps), err)
	}
	entries, stamps, err := t.a.GetMulti(t.ctx, nil, guards)
	if err != nil || len(entries) != 0 || len(stamps) != 1 {
		t.Errorf("GetMulti without keys = %d entries, %d stamps, %v; want 0, 1, nil", len(entries), len(stamps), err)
	}
	grants, stamps, err := t.a.Acquire(t.ctx, nil, guards)
	if err != nil || len(grants) != 0 || len(stamps) != 1 || stamps[0].Hard.IsZero() {
		t.Errorf("Acquire without keys = %d grants, %v, %v; want 0, 1 stamp, nil", len(grants), stamps, err)
	}
	if stamps, err = t.a.Set(t.ctx, nil, guards); err != nil || len(stamps) != 1 {
		t.Errorf("Set without items = %d stamps, %v; want 1, nil", len(stamps), err)
	}
	if err := t.a.Wait(t.ctx, nil); err != nil {
		t.Errorf("Wait without keys = %v", err)
	}
	if err := t.a.Delete(t.ctx, nil); err != nil {
		t.Errorf("Delete without keys = %v", err)
	}
	if stamps, err = t.a.Stamps(t.ctx, nil); err != nil || len(stamps) != 0 {
		t.Errorf("Stamps without guards = %d, %v; want 0, nil", len(stamps), err)
	}
	if err := t.a.Renew(t.ctx, nil, false); err != nil {
		t.Errorf("Renew without guards = %v", err)
	}
	t.holds(user("ann"), "Ann")
}

func deleteOfSeveral(t *trial) {
	for _, name := range []string{"one", "two", "three"} {
		t.set(t.a, user(name), name)
	}
	t.delete(t.b, users("one", "missing", "three")...)
	t.holds(user("one"), says(nil))
	t.holds(user("two"), "two")
	t.holds(user("three"), says(nil))
}

func itemsHaveTheirOwnOutcome(t *trial) {
	t.set(t.a, user("lost"), "old")
	t.set(t.a, user("negative"), "old")
	gone, held := t.acquire(t.a, user("lost")), t.acquire(t.a, user("held"))
	t.release(gone)

	stale := errors.New("from the last time that these items were used")
	items := []backend.Item{
		{Key: user("plain"), Entry: t.entry("plain"), Err: stale},
		{Key: user("lost"), Entry: t.entry("new"), Lease: gone, Err: stale},
		{Key: user("negative"), Entry: t.entry("new"), TTL: -1, Err: stale},
		{Key: user("held"), Entry: t.entry("held"), Lease: held, Err: stale},
	}
	guards := []backend.Guard{{Region: "users"}}
	current, err := t.b.Stamps(t.ctx, guards)
	t.must(err)
	stamps, err := t.a.Set(t.ctx, items, guards)
	if err != nil {
		t.Fatalf("Set = %v, want nil, because an item that was refused is no failure of Set", err)
	}
	t.sameStamps("Set", stamps, current)
	if items[0].Err != nil || items[3].Err != nil {
		t.Errorf("Err of the items that were stored = %v and %v, want nil", items[0].Err, items[3].Err)
	}
	if !errors.Is(items[1].Err, backend.ErrLeaseLost) {
		t.Errorf("Err of the item whose lease was released = %v, want backend.ErrLeaseLost", items[1].Err)
	}
	if err := items[2].Err; err == nil || errors.Is(err, stale) || errors.Is(err, backend.ErrLeaseLost) {
		t.Errorf("Err of the item with a negative TTL = %v, want an error that says so", err)
	}
	t.holds(user("plain"), "plain")
	t.holds(user("lost"), "old")
	t.holds(user("negative"), "old")
	t.holds(user("held"), "held")
}
