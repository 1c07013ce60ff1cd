package region_test

import (
	"context"
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// A page shows an author and a list of books; both are invalidated by what they were
// made of, not by their keys.
func Example_tags() {
	ctx := context.Background()
	pages, err := region.New("pages", region.Config{
		Backend:    memory.New(memory.Config{}),
		Expiration: time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pages.Close()

	titles := map[int]string{1: "The Dispossessed", 2: "The Lathe of Heaven"}
	render := region.Cached(pages, func(ctx context.Context, author string) (string, error) {
		page := author + ":"
		for id := 1; id <= len(titles); id++ {
			page += " " + titles[id] + "."
			region.FromContext(ctx).AddTags(fmt.Sprint("book:", id)) // known only now
		}
		return page, nil
	}, region.Namespace("author"), region.WithTags("table:books"))

	show := func() { page, err := render(ctx, "Le Guin"); fmt.Println(page, err) }
	show()
	titles[1] = "The Left Hand of Darkness" // an UPDATE
	show()
	err = pages.InvalidateTags(ctx, "book:1")
	show()
	fmt.Println(err, pages.Stats().Creations)
	// Output:
	// Le Guin: The Dispossessed. The Lathe of Heaven. <nil>
	// Le Guin: The Dispossessed. The Lathe of Heaven. <nil>
	// Le Guin: The Left Hand of Darkness. The Lathe of Heaven. <nil>
	// <nil> 2
}
