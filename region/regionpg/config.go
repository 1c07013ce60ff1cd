package regionpg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/dogpile-go/dogpile/region"
)

// ErrConfig is wrapped by the error of [Listen] for a Config that cannot work.
var ErrConfig = errors.New("regionpg: the configuration is not usable")

const (
	defaultKeepalive = 30 * time.Second
	defaultTimeout   = 10 * time.Second

	// maxChannel is how many bytes of a name PostgreSQL looks at (NAMEDATALEN - 1).
	maxChannel = 63

	// maxMessage limits what the server can make this process allocate. Payloads have
	// less than 8000 bytes, but errors may be long.
	maxMessage = 1 << 20
)

// Config says where a Source listens. URL and Channel are needed.
type Config struct {
	// URL is the database, as postgres://user:password@host:5432/database or in the
	// form "host=… user=… password=… dbname=…", with the options of pgx and libpq. What
	// it leaves out is taken from PGHOST and the other variables of libpq.
	URL string

	// Channel is the name of the channel, from 1 to 63 bytes. Small letters and
	// capitals differ, as in SELECT pg_notify('Cache', …) or NOTIFY "Cache"; a NOTIFY
	// without quotes makes all letters small.
	Channel string

	// Decode reads a payload. With an error, which is logged, everything is
	// invalidated, hard, in all regions; so it is if Decode panics. It is called by
	// one goroutine, and Close waits for it. Nil means JSON, as the package's
	// documentation says.
	Decode func(payload string) (region.Notice, error)

	// InvalidateAtStart makes the first notice one that invalidates everything. It is
	// for values that outlive the processes that listen: while none did, nobody has
	// heard what changed.
	InvalidateAtStart bool

	// BeforeConnect, if it is not nil, may change what is about to be used for a
	// connection, such as a password that expires. It is called for each attempt, with
	// a copy of what URL says, and Close waits for it; ctx ends with Close.
	BeforeConnect func(ctx context.Context, config *pgx.ConnConfig) error

	// Keepalive is for how long nothing may come before the server is asked whether it
	// is still there and the connection still listens. Defaults to 30 seconds.
	Keepalive time.Duration

	// Timeout is how long the server may take to answer that, or to let a Source
	// connect, for each host, and listen. A shorter connect_timeout of the URL is kept
	// to. Defaults to 10 seconds.
	Timeout time.Duration

	// Logger is told of connections that are lost and are back, and of payloads that
	// cannot be read. Defaults to slog.Default().
	Logger *slog.Logger
}

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

// check fills in what is not set, and returns what URL says.
func (cfg *Config) check() (*pgx.ConnConfig, error) {
	switch {
	case cfg.Channel == "":
		return nil, wrong("Channel is empty; name the channel that the triggers notify")
	case len(cfg.Channel) > maxChannel:
		return nil, wrong("Channel has %d bytes; PostgreSQL would cut it off after %d", len(cfg.Channel), maxChannel)
	case !utf8.ValidString(cfg.Channel) || strings.ContainsRune(cfg.Channel, 0):
		return nil, wrong("Channel is not UTF-8 or has a zero byte in it; PostgreSQL has no such names")
	case cfg.Keepalive < 0:
		return nil, wrong("Keepalive is %v; leave it at zero for %v", cfg.Keepalive, defaultKeepalive)
	case cfg.Timeout < 0:
		return nil, wrong("Timeout is %v; leave it at zero for %v", cfg.Timeout, defaultTimeout)
	}
	if cfg.Keepalive == 0 {
		cfg.Keepalive = defaultKeepalive
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Decode == nil {
		cfg.Decode = decodeJSON
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return parse(cfg.URL)
}

// parameter is what the names of a server's settings look like.
var parameter = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.$]*$`)

// parse reads a URL. Its errors have nothing of the text in them: where that is broken,
// nobody knows which part of it is the password.
func parse(url string) (*pgx.ConnConfig, error) {
	if url == "" {
		return nil, wrong(`URL is empty; write "postgres://" to take everything from PGHOST and the like`)
	}
	rest, isURL := strings.CutPrefix(url, "postgres://")
	if !isURL {
		rest, isURL = strings.CutPrefix(url, "postgresql://")
	}
	if isURL {
		// The end of the password would be taken for a host or a database, and errors
		// tell those.
		first := strings.IndexAny(rest, "@/")
		if path, _, _ := strings.Cut(rest[first+1:], "?"); first >= 0 && strings.Contains(path, "@") {
			return nil, wrong("URL has an @ that is out of place; in a user, a password or a database write @ as %%40 and / as %%2F")
		}
	} else if name, _, _ := strings.Cut(url, "="); strings.Contains(name, "://") {
		return nil, wrong("URL has another scheme than postgres:// and postgresql://")
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, wrong("URL %s", complaint(err))
	}
	for name := range config.RuntimeParams {
		if !parameter.MatchString(name) {
			return nil, wrong("URL has an option that cannot be one; write special characters with percent signs, or in quotes if it is not a URL")
		}
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "dogpile"
	}
	return config, nil
}

// complaints are what pgx says of a text that it cannot read, and what that means.
var complaints = []struct{ theirs, ours string }{
	{"failed to parse as URL", "cannot be read; write special characters with percent signs, such as % as %25"},
	{"failed to parse as keyword/value", `cannot be read; write postgres://user:password@host:5432/database, or "host=… user=… password='…' dbname=…"`},
	{"invalid port", "has a port that is not a number up to 65535; in a password write : as %3A, / as %2F and ? as %3F"},
	{"could not match", "has not as many ports as hosts"},
	{"failed to read service", "names a service that cannot be read"},
	{"failed to configure TLS", "has options for TLS that cannot be used"},
	{"invalid connect_timeout", "has a connect_timeout that is not a number of seconds"},
	{"unknown target_session_attrs", "has an unknown target_session_attrs; there are any, read-write, read-only, primary, standby and prefer-standby"},
	{"unknown channel_binding", "has an unknown channel_binding; there are disable, prefer and require"},
	{"invalid sslcertmode", "has an unknown sslcertmode"},
	{"invalid require_auth", "has an unknown require_auth"},
	{"invalid min_protocol_version", "has an unknown min_protocol_version"},
	{"invalid max_protocol_version", "has an unknown max_protocol_version"},
	{"min_protocol_version cannot be greater", "has a min_protocol_version above its max_protocol_version"},
	{"cannot parse statement_cache_capacity", "has a statement_cache_capacity that is not a number"},
	{"cannot parse description_cache_capacity", "has a description_cache_capacity that is not a number"},
	{"invalid default_query_exec_mode", "has an unknown default_query_exec_mode"},
}

// complaint says what is wrong with a text that pgx cannot read. What pgx says quotes
// the text.
func complaint(err error) string {
	ours := "cannot be used"
	for _, c := range complaints {
		if strings.Contains(err.Error(), "`: "+c.theirs) {
			ours = c.ours
			break
		}
	}
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		ours += ": " + file.Error()
	}
	return ours
}
