package regionconfig_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionconfig"
)

// What is wrong with a file is told with its line, all of it.
func ExampleYAML() {
	_, err := regionconfig.YAML("cache.yaml", []byte(`
backends:
  shared: redis://127.0.0.1:6379/0?prefix=app
defaults: {backend: shared, expiration: 300}
regions:
  users: {expiraton: 10m}
`))
	fmt.Println(err)
	// Output:
	// region: bad configuration, 2 problems:
	// 	cache.yaml:4: defaults.expiration: "300" has no unit; write 300s for seconds, or a time such as 5m or 1h30m
	// 	cache.yaml:6: regions.users.expiraton: there is no setting "expiraton": did you mean expiration?
}

// Configuring all regions of a program at its start.
func ExampleLoad() {
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "cache.yaml")
	_ = os.WriteFile(path, []byte("defaults: {backend: 'memory:', expiration: 5m}\nregions: {users: {}, reports: {}}\n"), 0o600)

	setup, err := regionconfig.Load(path)
	if err == nil {
		err = region.ConfigureAll(setup)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer users.Close()
	defer reports.Close()
	fmt.Println("ready:", region.Declared())
	// Output: ready: [reports users]
}
