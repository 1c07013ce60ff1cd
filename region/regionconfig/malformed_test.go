package regionconfig_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/region/regionconfig"
)

// good is a setup of which each malformed one is a variation.
const good = `backends:
  fast: "memory:?max_entries=1000"
  shared: redis://127.0.0.1:6379/0?prefix=app
defaults: {backend: shared, expiration: 5m, stale_for: 1h}
regions:
  users: {expiration: 10m, refresh: background, codec: cbor}
  reports: {backend: fast}
`

// in returns good with one line replaced.
func in(n int, line string) string {
	lines := strings.Split(good, "\n")
	lines[n-1] = line
	return strings.Join(lines, "\n")
}

// Every malformed file is refused, with the line and what is wrong, and configures nothing.
func TestMalformedFiles(t *testing.T) {
	t.Setenv("EMPTY", "")
	user := func(settings string) string { return in(6, "  users: {"+settings+"}") }
	deep := strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000)
	for name, test := range map[string]struct {
		file string
		line int
		want string
	}{
		// The file as a whole.
		"empty":                    {"", 1, "the file is empty"},
		"only a comment":           {"# nothing\n", 1, "the file is empty"},
		"a scalar":                 {"memory:fast", 1, "the file is a text"},
		"a list":                   {"- a\n- b\n", 1, "the file is a list"},
		"null":                     {"~", 1, "the file is empty"},
		"no regions":               {"backends: {}\n", 1, "regions are missing"},
		"a second document":        {good + "---\nregions: {}\n", 8, "second document"},
		"a tab as indentation":     {"regions:\n\tusers: {}\n", 2, "no YAML"},
		"an open bracket":          {in(6, "  users: {expiration: 10m"), 6, "no YAML"},
		"an open quote":            {in(2, "  fast: \"memory:"), 2, "no YAML"},
		"bad indentation":          {"regions:\n  users: {}\n reports: {}\n", 3, "no YAML"},
		"an unknown escape":        {in(2, `  fast: "\q"`), 2, "no YAML"},
		"control characters":       {"regions: \x01\x02\n", 1, "no YAML"},
		"not UTF-8":                {"regions: \xff\xfe\xfd\n", 1, "no YAML"},
		"a scheme without quotes":  {in(2, "  fast: memory:"), 2, "stands in quotes"},
		"an unknown anchor":        {in(6, "  users: *nobody"), 6, "no YAML"},
		"a cyclic anchor":          {"regions: &r\n  users: *r\n  reports: {}\n", 2, "contains itself"},
		"a cyclic merge":           {"regions:\n  users: &u {<<: *u}\n  reports: {}\n", 2, "contains itself"},
		"a merge of a text":        {in(6, "  users: {<<: all}"), 6, "not before a mapping"},
		"a megabyte of nesting":    {deep, 1, ""},
		"nesting below a region":   {in(6, "  users: {expiration: "+strings.Repeat("[", 100)+strings.Repeat("]", 100)+"}"), 6, "it has to be a text"},
		"nested mappings":          {in(6, "  users: {expiration: "+strings.Repeat("{a: ", 100)+"1"+strings.Repeat("}", 100)+"}"), 6, "deeper than"},
		"two megabytes":            {good + "# " + strings.Repeat("x", 2<<20), 8, "the most"},
		"billions of laughs":       {laughs(), 1, "aliases repeat"},
		"a list as a key":          {in(6, "  ? [users]\n  : {}"), 6, "keys are names"},
		"a duplicate key":          {user("expiration: 1m, expiration: 2m"), 6, "a second time, after line 6"},
		"a duplicate region":       {good + "  users: {}\n", 8, "a second time, after line 6"},
		"a duplicate section":      {good + "regions: {}\n", 8, "a second time, after line 5"},
		"an unknown section":       {in(4, "default: {backend: shared}"), 4, "did you mean defaults?"},
		"a dogpile key at the top": {good + "expiration_time: 5\n", 8, "there is no section"},

		// Sections of the wrong kind.
		"backends as a list":     {"backends: [memory:]\nregions: {users: {}, reports: {}}\n", 1, "is a list"},
		"backends as a text":     {"backends: memory\nregions: {users: {}, reports: {}}\n", 1, "is a text"},
		"defaults as a text":     {in(4, "defaults: shared"), 4, "mapping of settings"},
		"defaults empty":         {in(4, "defaults:"), 4, "is empty"},
		"regions as a list":      {"regions: [users, reports]\n", 1, "is a list"},
		"regions empty":          {"regions:\n", 1, "is empty"},
		"a region as a text":     {in(6, "  users: shared"), 6, "mapping of settings"},
		"a region that is empty": {in(6, "  users:"), 6, "write {}"},
		"a region as a number":   {in(6, "  users: 5"), 6, "is a number"},

		// Backends.
		"a backend that is empty":     {in(2, "  fast:"), 2, "has to be a URL"},
		"a backend as a mapping":      {in(2, "  fast: {url: memory}"), 2, "has to be a URL"},
		"a backend as a number":       {in(2, "  fast: 6379"), 2, "has to be a URL"},
		"an empty URL":                {in(2, `  fast: ""`), 2, "has no URL"},
		"no scheme":                   {in(2, "  fast: localhost"), 2, "is no URL"},
		"a colon in a name":           {in(2, "  fast: \"memory:\"\n  \"fa:st\": \"memory:\""), 3, "neither : nor /"},
		"an unknown scheme":           {in(3, "  shared: etcd://127.0.0.1/"), 3, "unknown scheme"},
		"a mistyped scheme":           {in(3, "  shared: reddis://127.0.0.1/"), 3, `did you mean "redis"?`},
		"a mistyped scheme in place":  {in(7, "  reports: {backend: 'memry:'}"), 7, `did you mean "memory"?`},
		"an unknown option":           {in(2, "  fast: memory:?max_entreis=5"), 2, `did you mean "max_entries"?`},
		"a bad option":                {in(2, "  fast: memory:?max_entries=many"), 2, "max_entries"},
		"a negative option":           {in(2, "  fast: memory:?max_entries=-5"), 2, "MaxEntries is -5"},
		"a bad database":              {in(3, "  shared: redis://127.0.0.1:6379/many"), 3, "redis"},
		"a bad port":                  {in(3, "  shared: redis://127.0.0.1:port/0"), 3, "the URL cannot be read"},
		"a password that is missing":  {in(3, "  shared: redis://:${NOT_SET}@127.0.0.1/0"), 3, "NOT_SET is not set"},
		"a password that is empty":    {in(3, "  shared: redis://:${EMPTY}@127.0.0.1/0"), 3, "EMPTY is not set"},
		"a user without password":     {in(3, "  shared: redis://app@127.0.0.1/0"), 3, "password"},
		"a variable without end":      {in(3, "  shared: redis://:${NOT_SET@127.0.0.1/0"), 3, "without the name"},
		"a variable without name":     {in(3, "  shared: redis://:${}@127.0.0.1/0"), 3, "without the name"},
		"a backend nobody has":        {user("backend: slow"), 6, "neither the name of a backend nor a URL"},
		"a mistyped backend":          {user("backend: sharde"), 6, `did you mean "shared"?`},
		"a backend that is a list":    {user("backend: [shared]"), 6, "is a list"},
		"a backend that is true":      {user("backend: true"), 6, "has to be a text"},
		"no backend at all":           {in(4, "defaults: {expiration: 5m}"), 6, "no backend is set"},
		"an empty backend":            {user(`backend: ""`), 6, "has no value"},
		"a memcached without servers": {in(3, "  shared: memcached://"), 3, "memcached"},

		// Settings.
		"an unknown setting":           {user("expiraton: 5m"), 6, "did you mean expiration?"},
		"dogpile's setting":            {user("expiration_time: 300"), 6, "did you mean expiration?"},
		"a setting in other letters":   {user("Expiration: 5m"), 6, "did you mean expiration?"},
		"a setting without value":      {user("expiration: "), 6, "has no value"},
		"an expiration without unit":   {user("expiration: 300"), 6, "write 300s"},
		"an expiration in days":        {user("expiration: 7d"), 6, "write hours"},
		"an expiration that is none":   {user("expiration: none"), 6, "none is no value for it"},
		"a negative expiration":        {user("expiration: -5m"), 6, "is negative"},
		"a zero expiration":            {user("expiration: 0s"), 6, "is zero"},
		"no expiration":                {in(4, "defaults: {backend: shared}"), 7, "is not set"},
		"an expiration that is a word": {user("expiration: soon"), 6, "is no time"},
		"too long an expiration":       {user("expiration: 9999999h"), 6, "is no time"},
		"an expiration as a list":      {user("expiration: [5m]"), 6, "is a list"},
		"a negative stale_for":         {user("stale_for: -1h"), 6, "is negative"},
		"stale_for as a bool":          {user("stale_for: true"), 6, "has to be a text"},
		"not_found_for for ever":       {user("not_found_for: forever"), 6, "forever is no value for it"},
		"close_timeout for ever":       {user("close_timeout: forever"), 6, "forever is no value for it"},
		"a negative create_timeout":    {user("create_timeout: -1s"), 6, "is negative"},
		"an unknown refresh":           {user("refresh: sometimes"), 6, "foreground or background"},
		"a refresh that is a bool":     {user("refresh: true"), 6, "has to be a text"},
		"an unknown codec":             {user("codec: protobuf"), 6, "unknown codec"},
		"a mistyped codec":             {user("codec: jsno"), 6, `did you mean "json"?`},
		"a codec that wraps nothing":   {user("codec: zstd"), 6, "cbor+zstd"},
		"two codecs":                   {user("codec: json+cbor"), 6, "two codecs"},
		"a codec that is a mapping":    {user("codec: {name: json}"), 6, "is a mapping"},
		"a bool that is a text":        {user(`cancel_on_lease_lost: "yes"`), 6, "true or false"},
		"a bool that is a number":      {user("disabled: 1"), 6, "true or false"},

		"a long key":             {in(6, "  users: {\""+strings.Repeat("x", 1000)+"\": 1}"), 6, `xxx": there is no setting`},
		"a key of several lines": {in(6, "  users: {\"a\\nb\\e[1m\": 1}"), 6, `"regions.users.a\nb\x1b[1m": there is no setting`},

		// Regions.
		"a region nobody declared":     {good + "  orders: {}\n", 8, "no region of this name is declared"},
		"a mistyped region":            {in(6, "  usres: {}\n  users: {}"), 6, `did you mean "users"?`},
		"a declared region is missing": {in(7, ""), 5, `"reports" is declared and not configured here`},
		"a region with a bad name":     {in(6, "  users: {}\n  \"a:b\": {}"), 7, "letters, digits"},
		"a region without name":        {in(6, "  users: {}\n  \"\": {}"), 7, "has 1 to"},
	} {
		t.Run(name, func(t *testing.T) {
			setup, err := regionconfig.Load(file(t, "cache.yaml", test.file))
			if err == nil {
				err = configured(t, setup)
			}
			tells(t, err, []string{line(test.line), test.want})
			unconfigured(t)
			if strings.Contains(err.Error(), "panic") || strings.Contains(err.Error(), "%!") || len(err.Error()) > 1000 {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

// laughs returns a short file whose aliases stand for very much.
func laughs() string {
	text := "x-0: &a0 {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1}\n"
	for i := range 12 {
		text += fmt.Sprintf("x-%d: &a%d {a: *a%d, b: *a%[3]d, c: *a%[3]d, d: *a%[3]d, e: *a%[3]d, f: *a%[3]d}\n", i+1, i+1, i)
	}
	return text + good
}

// Everything that is wrong is told at once, and nothing that only follows from it.
func TestAllProblemsAtOnce(t *testing.T) {
	t.Setenv("DOGPILE_REPORTS_MAX_WAIT", "long")
	path := file(t, "cache.yaml", `backends:
  shared: reddis://127.0.0.1/
defaults: {backend: shared, expiraton: 5m}
regions:
  users: {refresh: never, codec: jsno}
  orders: {expiration: 5m}
  reports: {expiration: 5m}
`)
	_, err := regionconfig.Load(path)
	tells(t, err,
		[]string{line(3), "defaults.expiraton", "did you mean expiration?"},
		[]string{line(5), "regions.users.refresh"},
		[]string{"DOGPILE_REPORTS_MAX_WAIT: regions.reports.max_wait"},
		[]string{line(2), `backends.shared`, `did you mean "redis"?`},
		[]string{line(6), "regions.orders", "no region of this name is declared"},
		[]string{line(5), "regions.users.codec", "jsno"},
	)
	t.Logf("%v", err)
}

// What is missing because it could not be read is not told of besides.
func TestProblemsThatFollow(t *testing.T) {
	for name, test := range map[string]struct{ file, setting string }{
		"a backend that was not read": {"backends: {fast: 5}\ndefaults: {backend: fast, expiration: 5m}\nregions: {users: {backend: fast}, reports: {}}", "backends.fast"},
		"defaults":                    {"defaults: {backend: [x], expiration: 5m}\nregions: {users: {}, reports: {}}", "defaults.backend"},
		"a section":                   {"defalts: {backend: 'memory:', expiration: 5m}\nregions: {users: {}, reports: {}}", "defalts"},
		"no regions":                  {"regions: [users]", "regions"},
		"a region's own":              {"defaults: {backend: 'memory:'}\nregions: {users: {expiraton: 5m}, reports: {expiration: 5m}}", "regions.users.expiraton"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := regionconfig.Load(file(t, "c.yaml", test.file))
			tells(t, err, []string{test.setting})
		})
	}
	// A variable may be what is missing, or not.
	t.Setenv("DOGPILE_USRES_EXPIRATION", "5m")
	_, err := regionconfig.Load(file(t, "c.yaml", "regions: {users: {backend: 'memory:'}, reports: {backend: 'memory:', expiration: 5m, codec: jsno}}"))
	tells(t, err, []string{"DOGPILE_USRES_EXPIRATION"}, []string{"regions.reports.codec"})
	t.Setenv("DOGPILE_USRES_EXPIRATION", "")

	// One region's mistake says nothing of another one's.
	_, err = regionconfig.Load(file(t, "c.yaml", "regions: {users: {backend: 'memory:', refresh: x, expiration: 5m}}"))
	tells(t, err, []string{"regions.users.refresh"}, []string{`"reports" is declared and not configured`})
}

// What only ConfigureAll can see is all told too.
func TestAllProblemsOfOpening(t *testing.T) {
	setup, err := regionconfig.Load(file(t, "cache.yaml", `backends:
  fast: memory:?max_entreis=1
  shared: redis://127.0.0.1:6379/0?lease=1
regions:
  users: {backend: fast, expiration: 5m}
  reports: {backend: shared, expiration: 5m}
`))
	if err != nil {
		t.Fatal(err)
	}
	tells(t, configured(t, setup),
		[]string{line(3), "backends.shared", "lease_ttl"},
		[]string{line(2), "backends.fast", "max_entries"},
	)
	unconfigured(t)
}

// A file that stands for another one is no way around the limits.
func TestFilesThatCannotBeRead(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "cache.yaml")
	endless := filepath.Join(t.TempDir(), "cache.json")
	if err := errors.Join(os.Mkdir(folder, 0o700), os.Symlink("/dev/zero", endless)); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"no such file": "/nonexistent/cache.yaml",
		"a folder":     folder,
		"a wrong name": file(t, "cache.toml", good),
		"no name":      "/dev/zero",
		"without end":  endless,
	} {
		if _, err := regionconfig.Load(path); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			where := path + ": "
			if path == endless {
				where = path + ":1: "
			}
			tells(t, err, []string{where})
		}
	}
}
