package region_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/region"
)

func TestInvalidator(t *testing.T) {
	for name, c := range map[string]struct {
		notices []region.Notice
		users   string // what becomes of the value "k" with the tag "t" in region users
		posts   string // and in posts
		other   string // and of "other" without a tag in users
		errs    bool   // Apply refuses it
	}{
		"nothing":               {[]region.Notice{{}}, "fresh", "fresh", "fresh", false},
		"all":                   {[]region.Notice{{All: true}}, "dead", "dead", "dead", false},
		"all, soft":             {[]region.Notice{{All: true, Mode: region.Soft}}, "stale", "stale", "stale", false},
		"one region":            {[]region.Notice{{Region: "users", All: true}}, "dead", "fresh", "dead", false},
		"a region of others":    {[]region.Notice{{Region: "invoices", All: true}}, "fresh", "fresh", "fresh", false},
		"a tag":                 {[]region.Notice{{Tags: []string{"t"}}}, "dead", "dead", "fresh", false},
		"a tag, soft":           {[]region.Notice{{Region: "users", Tags: []string{"t"}, Mode: region.Soft}}, "stale", "fresh", "fresh", false},
		"a key":                 {[]region.Notice{{Region: "users", Keys: []string{"k"}}}, "dead", "fresh", "fresh", false},
		"a key, soft":           {[]region.Notice{{Region: "posts", Keys: []string{"k"}, Mode: region.Soft}}, "fresh", "stale", "fresh", false},
		"soft and hard":         {[]region.Notice{{All: true, Mode: region.Soft}, {Region: "users", Tags: []string{"t"}}}, "dead", "stale", "stale", false},
		"hard and soft":         {[]region.Notice{{Keys: []string{"k"}}, {Tags: []string{"t"}, Mode: region.Soft}}, "dead", "dead", "fresh", false},
		"the same twice":        {[]region.Notice{{Tags: []string{"t"}, Mode: region.Soft}, {Tags: []string{"t"}}}, "dead", "dead", "fresh", false},
		"all hard and the rest": {[]region.Notice{{All: true}, {All: true, Mode: region.Soft}}, "dead", "dead", "dead", false},
		"an unknown mode":       {[]region.Notice{{Region: "users", Tags: []string{"t"}, Mode: 7}}, "dead", "fresh", "fresh", true},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				ctx := t.Context()
				users, posts := openAs(t, "users", cfg), openAs(t, "posts", cfg)
				inv, err := region.NewInvalidator(users, posts)
				if err != nil {
					t.Fatal(err)
				}
				is := func(r *region.Region, key, want string) {
					t.Helper()
					_, fresh, err := region.Get[string](ctx, r, key)
					_, stale, err2 := region.Get[string](ctx, r, key, region.AllowStale())
					if err != nil || err2 != nil || fresh != (want == "fresh") || stale != (want != "dead") {
						t.Errorf("%s of %s is fresh: %v, to be had: %v, %v, %v; want it %s", key, r.Name(), fresh, stale, err, err2, want)
					}
				}
				for _, together := range []bool{true, false} {
					for _, r := range []*region.Region{users, posts} {
						must(t, r, "k", &creator{value: func(int64) (string, error) { return "v", nil }}, "v", region.WithTags("t"), region.WithExpiration(0))
						must(t, r, "other", &creator{value: func(int64) (string, error) { return "v", nil }}, "v", region.WithExpiration(0))
					}
					if together {
						notices := make(chan region.Notice, len(c.notices))
						for _, n := range c.notices {
							notices <- n
						}
						close(notices)
						if err := inv.Run(ctx, notices); err != nil {
							t.Error(err)
						}
					} else {
						for _, n := range c.notices {
							if err := inv.Apply(ctx, n); errors.Is(err, region.ErrConfig) != c.errs || (err != nil) != c.errs {
								t.Errorf("Apply: %v; want an ErrConfig: %v", err, c.errs)
							}
						}
					}
					if together || !c.errs {
						is(users, "k", c.users)
						is(posts, "k", c.posts)
						is(users, "other", c.other)
					}
				}
			})
		})
	}
}

func TestInvalidatorsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		users := open(t, kinds["bytes"]())
		inv, err := region.NewInvalidator(users)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		notices := make(chan region.Notice)
		go func() { done <- inv.Run(ctx, notices) }()
		must(t, users, "k", counting(), "v1")
		notices <- region.Notice{All: true}
		synctest.Wait()
		holds(t, users, "k", "")
		if err := users.Close(); err != nil {
			t.Fatal(err)
		}
		notices <- region.Notice{All: true} // nobody to tell
		why := errors.New("the program ends")
		cancel(why)
		if err := <-done; err != why {
			t.Errorf("Run returned %v, want the cause of its context", err)
		}
	})
}

func TestInvalidatorsThatCannotWork(t *testing.T) {
	r, err := region.New("users", kinds["bytes"]())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, regions := range map[string][]*region.Region{
		"none": nil, "nil": {r, nil}, "the same twice": {r, r},
	} {
		if _, err := region.NewInvalidator(regions...); !errors.Is(err, region.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
	inv, err := region.NewInvalidator(r, region.Declare("an invalidator's, never configured"))
	if err != nil {
		t.Fatal(err)
	}
	if err := inv.Run(t.Context(), nil); !errors.Is(err, region.ErrConfig) {
		t.Errorf("a region with a bad name: %v", err)
	}
	inv, err = region.NewInvalidator(r, region.Declare("invalidator.unconfigured"))
	if err != nil {
		t.Fatal(err)
	}
	if err := inv.Run(t.Context(), nil); !errors.Is(err, region.ErrNotConfigured) {
		t.Errorf("a region that is not configured: %v", err)
	}
}

// What fails is the region's to make up for.
func TestInvalidatorsDoNotForget(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := kinds["bytes"]()
		down := &outage{ops: "renew delete"}
		cfg.Wrap = append(cfg.Wrap, probing(down.probe()))
		r := open(t, cfg)
		inv, err := region.NewInvalidator(r)
		if err != nil {
			t.Fatal(err)
		}
		must(t, r, "k", counting(), "v1", region.WithTags("t"))
		must(t, r, "l", counting(), "v1")
		down.on.Store(true)
		if err := inv.Apply(t.Context(), region.Notice{Tags: []string{"t"}, Keys: []string{"l"}}); !errors.Is(err, region.ErrPending) {
			t.Errorf("%v, want ErrPending", err)
		}
		holds(t, r, "k", "")
		holds(t, r, "l", "")
		down.on.Store(false)
	})
}
