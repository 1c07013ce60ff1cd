package dogpilepy_test

import (
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/codec/dogpilepy"
)

// What Python stores, and how Go reads it.
func Example() {
	stored := []byte(`{"ct": 1795222722.152968, "v": 2}|{"id": 5, "name": "dr\u00f4le"}`)
	created, payload, err := dogpilepy.Format.Parse(stored)
	if err != nil {
		fmt.Println(err)
		return
	}
	var user struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	if err := dogpilepy.JSON().Decode(payload, &user); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(created.UTC().Format(time.DateTime), user.ID, user.Name)
	// Output: 2026-11-21 00:58:42 5 drôle
}

func ExampleFunctionKey() {
	// @region.cache_on_arguments(namespace="v2")
	// def load(id, language, active=True): …
	key, err := dogpilepy.FunctionKey("app.users:load", "v2", 5, "en", true)
	fmt.Println(key, err)
	// Output: app.users:load|v2|5 en True <nil>
}
