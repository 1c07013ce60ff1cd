package redisurl

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/dogpile-go/dogpile/backend"
)

// given is the URL that backend.Open gave an opener last.
var given *url.URL

var errGiven = errors.New("the URL was given to its opener")

func init() {
	for _, k := range kinds {
		err := backend.Register(k.scheme, func(u *url.URL) (backend.Backend, error) {
			given = u
			return nil, errGiven
		})
		if err != nil {
			panic(err)
		}
	}
}

// parse returns raw as an opener is given it, and fails the test if it cannot be
// read at all.
func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	if _, err := backend.Open(raw); !errors.Is(err, errGiven) {
		t.Fatalf("%q: %v; want the URL to be given to its opener", raw, err)
	}
	return given
}

func TestPlace(t *testing.T) {
	for raw, want := range map[string]place{
		"redis://h":                                {addrs: []string{"h:6379"}},
		"REDIS://h":                                {addrs: []string{"h:6379"}},
		"redis://h/":                               {addrs: []string{"h:6379"}},
		"redis://h?":                               {addrs: []string{"h:6379"}},
		"redis://h#":                               {addrs: []string{"h:6379"}},
		"redis://h:1":                              {addrs: []string{"h:1"}},
		"redis://h:65535/0":                        {addrs: []string{"h:65535"}},
		"redis://h/15":                             {addrs: []string{"h:6379"}, database: 15},
		"redis://h/15/":                            {addrs: []string{"h:6379"}, database: 15},
		"redis://10.1.2.3":                         {addrs: []string{"10.1.2.3:6379"}},
		"redis://[::1]":                            {addrs: []string{"[::1]:6379"}},
		"redis://[::1]:7000/1":                     {addrs: []string{"[::1]:7000"}, database: 1},
		"redis://[fe80::1%25eth0]:7000":            {addrs: []string{"[fe80::1%eth0]:7000"}},
		"redis://:pw@h":                            {addrs: []string{"h:6379"}, password: "pw"},
		"redis://user:pw@h":                        {addrs: []string{"h:6379"}, username: "user", password: "pw"},
		"redis://us%40er:p%2Fw%3A%23%3F%25:x@h":    {addrs: []string{"h:6379"}, username: "us@er", password: "p/w:#?%:x"},
		"redis://:@h":                              {addrs: []string{"h:6379"}},
		"redis://@h":                               {addrs: []string{"h:6379"}},
		"rediss://user:pw@h:1/2":                   {addrs: []string{"h:1"}, username: "user", password: "pw", database: 2},
		"redis+sentinel://h/main":                  {addrs: []string{"h:26379"}, master: "main"},
		"redis+sentinel://h/main/":                 {addrs: []string{"h:26379"}, master: "main"},
		"redis+sentinel://h:1,g,[::1]/main/3":      {addrs: []string{"h:1", "g:26379", "[::1]:26379"}, master: "main", database: 3},
		"redis+sentinel://h/a%2Fb%20c/3":           {addrs: []string{"h:26379"}, master: "a/b c", database: 3},
		"rediss+sentinel://u:p@[::1]:1,[::2]:2/m":  {addrs: []string{"[::1]:1", "[::2]:2"}, master: "m", username: "u", password: "p"},
		"redis+cluster://h":                        {addrs: []string{"h:6379"}},
		"redis+cluster://h/0":                      {addrs: []string{"h:6379"}},
		"redis+cluster://u:p@h:7000,g:7001,[::1]/": {addrs: []string{"h:7000", "g:7001", "[::1]:6379"}, username: "u", password: "p"},
		"rediss+cluster://h,g":                     {addrs: []string{"h:6379", "g:6379"}},
	} {
		u := parse(t, raw)
		k, err := kindOf(u)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if got, err := k.place(u); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", raw, got, err, want)
		}
	}
}

// Every URL here is wrong, and has "secret" where its passwords are or might be.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	noCertificate := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(noCertificate, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := "prefix, lease_ttl, pool_size, dial_timeout, read_timeout, write_timeout, client_name, sentinel_username, sentinel_password, tls_ca, tls_server_name, tls_insecure"
	for _, c := range []struct{ raw, want string }{
		// Hosts.
		{"redis:", "the host is missing: write redis://host:6379/0"},
		{"redis:localhost:6379", "the host is missing: write redis://host:6379/0"},
		{"redis:///0", "the host is missing: write redis://host:6379/0"},
		{"redis://", "the host is missing: write redis://host:6379/0"},
		{"redis://:6379", "the host is missing"},
		{"redis://:secret@", "the host is missing"},
		{"redis://:secret@/0", "the host is missing"},
		{"redis://u:secret@:6379/0", "the host is missing"},
		{"rediss:///0", "write rediss://host:6379/0"},
		{"redis://[]:1", "cannot be read"},
		{"redis://h,g", "takes one host: write redis+sentinel:// or redis+cluster:// for several"},
		{"rediss://h:1,g:2/0", "takes one host: write rediss+sentinel:// or rediss+cluster:// for several"},
		{"redis+sentinel:///main", "the host is missing: write redis+sentinel://host1:26379,host2:26379/master/0"},
		{"redis+sentinel://h,/main", "the host is missing"},
		{"redis+cluster://,h", "the host is missing: write redis+cluster://host1:6379,host2:6379"},
		{"redis+cluster://h,:1", "the host is missing"},
		{"redis://::1", "write an IPv6 address in brackets, as [::1]:6379"},
		{"redis+sentinel://::1:26379/m", "as [::1]:26379"},
		// Ports.
		{"redis://h:", `the port "" of "h" is not a number from 1 to 65535`},
		{"redis://h:0", `the port "0" of "h"`},
		{"redis://h:65536", `the port "65536"`},
		{"redis://[::1]:70000", `the port "70000" of "::1"`},
		{"redis+cluster://h:1,g:99999999999999999999", `the port "99999999999999999999" of "g"`},
		{"redis://u:secret@h:x", "cannot be read"},
		// Databases and masters.
		{"redis://h/x", `the database "x" is not a number from 0 up: write redis://host:6379/0`},
		{"redis://h/-1", `the database "-1"`},
		{"redis://h/+1", `the database "+1"`},
		{"redis://h/1.5", `the database "1.5"`},
		{"redis://h/99999999999", `the database "99999999999"`},
		{"redis://h/0/1", "too many parts"},
		{"redis://h//1", "too many parts"},
		{"redis+sentinel://h", "the name of the master is missing: write it behind the hosts, as in redis+sentinel://host1:26379,host2:26379/master/0"},
		{"redis+sentinel://h/", "the name of the master is missing"},
		{"redis+sentinel://h//0", "the name of the master is missing"},
		{"redis+sentinel://h/main/x", `the database "x" is not a number`},
		{"redis+sentinel://h/main//", `the database "" is not a number`},
		{"redis+sentinel://h/main/0/x", "too many parts"},
		{"redis+cluster://h/1", "there is no database 1 in a cluster"},
		{"redis+cluster://h/x", `the database "x" is not a number`},
		// User names, passwords, and those that were not escaped.
		{"redis://secret@h", "a user name without a password"},
		{"redis://secret:@h", "a user name without a password"},
		{"redis://:sec#ret@h", "cannot be read"},
		{"redis://u:1#secret@h", "# as %23"},
		{"redis://u:1?secret@h", "? as %3F"},
		{"redis://u:1?prefix=secret@h", "? as %3F"},
		{"redis://u:1/secret@h", "/ as %2F"},
		{"redis://u:1/2@secret/0", "/ as %2F"},
		{"redis+sentinel://h:1/secret@g/x", "/ as %2F"},
		{"redis:u:secret@h", "an @ behind the host"},
		{"redis://h#secret", "write it as %23"},
		{"redis://h/0?prefix=a#secret", "write it as %23"},
		// Options.
		{"redis://h?perfix=a", `unknown option "perfix": did you mean "prefix"? There are ` + all},
		{"redis://h?x=a", `unknown option "x": there are ` + all},
		{"redis://h?=a", `unknown option ""`},
		{"redis://h?Prefix=a", `unknown option "Prefix": did you mean "prefix"?`},
		{"redis://h?prefix=a&prefix=a", "the option prefix is given twice: give it once"},
		{"redis://h?prefix=", "the option prefix has no value"},
		{"redis://h?prefix", "the option prefix has no value"},
		{"redis://h?prefix=a;pool_size=3", "put & between them"},
		{"redis://h?prefix=%zz", "% as %25"},
		{"redis://h?pool%zz=1", "% as %25"},
		{"redis://h?lease_ttl=0", `the option lease_ttl is "0": write a time of at least 1ms`},
		{"redis://h?lease_ttl=999us", `the option lease_ttl is "999us"`},
		{"redis://h?lease_ttl=-1s", `the option lease_ttl is "-1s"`},
		{"redis://h?lease_ttl=30", `the option lease_ttl is "30": write a time of at least 1ms, with its unit, as in 30s`},
		{"redis://h?pool_size=0", `the option pool_size is "0": write a number from 1 to 10000`},
		{"redis://h?pool_size=10001", `the option pool_size is "10001"`},
		{"redis://h?pool_size=-1", `the option pool_size is "-1"`},
		{"redis://h?pool_size=x", `the option pool_size is "x"`},
		{"redis://h?dial_timeout=0s", `the option dial_timeout is "0s": write a time that is more than 0 and at most 1h`},
		{"redis://h?read_timeout=-1ns", `the option read_timeout is "-1ns"`},
		{"redis://h?write_timeout=5", `the option write_timeout is "5"`},
		{"redis://h?write_timeout=61m", `the option write_timeout is "61m"`},
		{"redis://h?client_name=a%20b", `the option client_name is "a b": Redis wants`},
		{"redis://h?client_name=a%0Ab", "the option client_name"},
		{"redis://h?client_name=%C3%A4", "the option client_name"},
		{"redis://h?tls_ca=x", "the option tls_ca means nothing with redis://: write rediss://, or leave the option out"},
		{"redis+cluster://h?tls_insecure=true", "write rediss+cluster://"},
		{"redis+sentinel://h/m?tls_server_name=x", "write rediss+sentinel://"},
		{"rediss://h?tls_insecure=yes", `the option tls_insecure is "yes": write true or false`},
		{"rediss://h?tls_insecure=1", "write true or false"},
		{"rediss://h?tls_ca=" + filepath.Join(dir, "absent.pem"), "the option tls_ca names a file that cannot be read: open "},
		{"rediss://h?tls_ca=" + noCertificate, "which has no certificate in PEM format"},
		{"redis://h?sentinel_password=secret", "the option sentinel_password means nothing with redis://: write redis+sentinel://"},
		{"rediss+cluster://h?sentinel_username=secret", "write rediss+sentinel://"},
		{"redis+sentinel://h/m?sentinel_username=secret", "the option sentinel_username needs sentinel_password"},
		{"redis+sentinel://h/m?sentinel_password=1&secret", "in a password write & as %26"},
		{"redis+sentinel://h/m?sentinel_password=1&secret=x", "in a password write & as %26"},
		{"redis+sentinel://h/m?sentinel_password=secret;", "; as %3B"},
		{"redis+sentinel://h/m?sentinel_password=%secret", "% as %25"},
		{"redis+sentinel://h/m?sentinel_password=secret&sentinel_password=secret", "the option sentinel_password is given twice"},
		{"redis+sentinel://:secret@h/m?sentinel_password=secret&pool_size=x", "the option pool_size"},
	} {
		given = nil
		_, err := backend.Open(c.raw)
		if errors.Is(err, errGiven) {
			var o *Opened
			if o, err = Open(given); err == nil {
				t.Errorf("%s: no error; want %q", c.raw, c.want)
				o.Client.Close()
				continue
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", c.raw, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "ret@") {
			t.Errorf("%s: the error shows the password: %v", c.raw, err)
		}
	}
	for _, u := range []*url.URL{{}, {Scheme: "redis+unix", Path: "/tmp/socket"}, {Scheme: "unix"}} {
		if _, err := Open(u); err == nil || !strings.Contains(err.Error(), "there are redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster") {
			t.Errorf("%s: %v; want the schemes there are", u, err)
		}
	}
	// backend.Open refuses these itself. Those who call with a URL of their own
	// making get an error, too.
	for _, host := range []string{"[::1", "[::1]x", "[]", "h:x", "a:b:c"} {
		if _, err := Open(&url.URL{Scheme: "redis", Host: host}); err == nil {
			t.Errorf("the host %q is no error", host)
		}
	}
}

func TestOptions(t *testing.T) {
	// This is what go-redis made of the options: for MaxRetries -1 it keeps 0.
	common := redis.Options{
		Protocol: 3, MaxRetries: 0, DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true, PipelinePoolSize: -1,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, PoolTimeout: 2 * time.Second,
	}
	check := func(raw string, got, want redis.Options) {
		t.Helper()
		if got.Protocol != want.Protocol || got.MaxRetries != want.MaxRetries || got.DialerRetries != want.DialerRetries ||
			got.ContextTimeoutEnabled != want.ContextTimeoutEnabled || got.DisableIdentity != want.DisableIdentity || got.PipelinePoolSize != want.PipelinePoolSize ||
			got.DialTimeout != want.DialTimeout || got.ReadTimeout != want.ReadTimeout || got.WriteTimeout != want.WriteTimeout || got.PoolTimeout != want.PoolTimeout {
			t.Errorf("%s: options %+v, want %+v", raw, got, want)
		}
		if got.MaintNotificationsConfig == nil || got.MaintNotificationsConfig.Mode != maintnotifications.ModeDisabled {
			t.Errorf("%s: maintenance notifications %+v, want none", raw, got.MaintNotificationsConfig)
		}
		if got.Username != want.Username || got.Password != want.Password || got.DB != want.DB || got.ClientName != want.ClientName {
			t.Errorf("%s: logs in as %q %q database %d name %q, want %q %q %d %q", raw,
				got.Username, got.Password, got.DB, got.ClientName, want.Username, want.Password, want.DB, want.ClientName)
		}
		if got := got.TLSConfig != nil; got != strings.HasPrefix(raw, "rediss") {
			t.Errorf("%s: TLS is %t", raw, got)
		}
		if want.PoolSize != 0 && got.PoolSize != want.PoolSize {
			t.Errorf("%s: pool of %d, want %d", raw, got.PoolSize, want.PoolSize)
		}
	}
	tuned := common
	tuned.Username, tuned.Password, tuned.DB, tuned.ClientName = "u", "p", 4, "me"
	tuned.PoolSize, tuned.DialTimeout, tuned.ReadTimeout, tuned.WriteTimeout, tuned.PoolTimeout = 7, 2*time.Second, 3*time.Second, 4*time.Second, 4*time.Second
	inCluster := tuned
	inCluster.DB = 0
	const tuning = "?prefix=a%20b&lease_ttl=1m&pool_size=7&dial_timeout=2s&read_timeout=3s&&write_timeout=4s&client_name=me"

	for raw, want := range map[string]redis.Options{
		"redis://h":                                common,
		"rediss://h":                               common,
		"redis+sentinel://h/m":                     common,
		"redis://u:p@h/4" + tuning:                 tuned,
		"rediss://u:p@h/4" + tuning:                tuned,
		"redis+sentinel://u:p@h,g/m/4" + tuning:    tuned,
		"rediss+sentinel://u:p@h,g/m/4" + tuning:   tuned,
		"redis+cluster://u:p@127.0.0.1:1" + tuning: inCluster,
		"rediss+cluster://127.0.0.1:1":             common,
		"redis+cluster://127.0.0.1:1":              common,
	} {
		u := parse(t, raw)
		o, err := Open(u)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if strings.Contains(raw, "prefix") && (o.Prefix != "a b" || o.LeaseTTL != time.Minute) {
			t.Errorf("%s: prefix %q, lease TTL %s; want \"a b\" and 1m", raw, o.Prefix, o.LeaseTTL)
		}
		if !strings.Contains(raw, "prefix") && (o.Prefix != "" || o.LeaseTTL != 0) {
			t.Errorf("%s: prefix %q, lease TTL %s; want none", raw, o.Prefix, o.LeaseTTL)
		}
		switch c := o.Client.(type) {
		case *redis.Client:
			if strings.Contains(u.Scheme, "cluster") {
				t.Errorf("%s: a client of one server; want one of a cluster", raw)
			}
			check(raw, *c.Options(), want)
		case *redis.ClusterClient:
			if !strings.Contains(u.Scheme, "cluster") {
				t.Errorf("%s: a client of a cluster; want one of a server", raw)
			}
			// The nodes count, which are made with the options of the cluster.
			if c.Options().MaxRedirects != 3 {
				t.Errorf("%s: at most %d redirections, want 3", raw, c.Options().MaxRedirects)
			}
			var node *redis.Client
			c.OnNewNode(func(n *redis.Client) { node = n })
			if err := c.Ping(t.Context()).Err(); err == nil || node == nil {
				t.Errorf("%s: ping: %v, node %v; want an error from the node at port 1", raw, err, node)
				continue
			}
			check(raw, *node.Options(), want)
		default:
			t.Errorf("%s: a client of type %T", raw, c)
		}
		if err := o.Client.Close(); err != nil {
			t.Errorf("%s: close: %v", raw, err)
		}
	}
}
