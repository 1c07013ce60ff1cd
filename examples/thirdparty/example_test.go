package attic_test

import (
	"context"
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/examples/thirdparty" // registers "attic:"
	"github.com/dogpile-go/dogpile/region"
)

func loadUser(_ context.Context, id int64) (string, error) {
	fmt.Println("loading user", id)
	return fmt.Sprint("user ", id), nil
}

// A program opens the backend by URL, for example from its configuration, and imports
// the package only for its registration.
func Example() {
	b, err := backend.Open("attic:?max_entries=1000")
	if err != nil {
		fmt.Println(err)
		return
	}
	users, err := region.New("users", region.Config{Backend: b, Expiration: 5 * time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer users.Close()
	getUser := region.Cached(users, loadUser)
	for range 2 {
		fmt.Println(getUser(context.Background(), 42))
	}
	// Output:
	// loading user 42
	// user 42 <nil>
	// user 42 <nil>
}
