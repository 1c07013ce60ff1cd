package region_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// A region is declared where the functions live and configured at startup.
var books = region.Declare("books")

var bookTitle = region.Cached(books, queryTitle)

// queryTitle stands for a query to a database.
func queryTitle(_ context.Context, id int64) (string, error) {
	fmt.Println("query for", id)
	return fmt.Sprint("Volume ", id), nil
}

func ExampleCached() {
	err := books.Configure(region.Config{
		Backend:    memory.New(memory.Config{MaxEntries: 100_000}),
		Expiration: 5 * time.Minute,
		StaleFor:   time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer books.Close()

	for range 3 {
		title, err := bookTitle(context.Background(), 42)
		fmt.Println(title, err)
	}
	// Output:
	// query for 42
	// Volume 42 <nil>
	// Volume 42 <nil>
	// Volume 42 <nil>
}
