package memcached

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/dogpile-go/dogpile/backend"
)

func init() {
	for _, scheme := range []string{"memcached", "memcacheds"} {
		if err := backend.Register(scheme, openURL); err != nil {
			panic(err) // two packages for one scheme: a bug of the program's build
		}
	}
}

// openURL opens a backend. Nothing is connected to yet.
func openURL(u *url.URL) (backend.Backend, error) {
	cfg, err := configOf(u)
	if err != nil {
		return nil, err
	}
	b := New(cfg)
	if err := b.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", u.Scheme, err)
	}
	return b, nil
}

// configOf returns what a URL describes.
func configOf(u *url.URL) (Config, error) {
	switch {
	case u.User != nil:
		return Config{}, errors.New("memcached knows no users: leave out what stands before the @; who may connect is a matter of the network, or of TLS")
	case u.Opaque != "" || u.Host == "":
		return Config{}, fmt.Errorf("the URL has no host: write %s://127.0.0.1:11211, or several with commas between them", u.Scheme)
	case u.Path != "" && u.Path != "/":
		return Config{}, fmt.Errorf("the URL has the path %q, which means nothing: options stand behind a question mark, as in ?prefix=app", u.Path)
	case u.Fragment != "":
		return Config{}, errors.New("the URL has a fragment: in an option write # as %23")
	}
	cfg := Config{Servers: strings.Split(u.Host, ",")}
	for _, server := range cfg.Servers {
		if server == "" {
			return Config{}, errors.New("one of the hosts is empty: write one comma between two of them, and none at the end")
		}
	}
	err := setOptions(&cfg, u)
	return cfg, err
}
