package redisurl

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestConnectionsAreAsTheURLSays(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "pass/word:@")
	server.Do(t, "ACL", "SETUSER", "us@er", "on", ">se#cret?", "~*", "+@all")
	ctx := t.Context()

	for raw, want := range map[string]string{
		"redis://:pass%2Fword%3A%40@" + server.Addr + "/3?client_name=someone":   " db=3 user=default name=someone",
		"redis://us%40er:se%23cret%3F@" + server.Addr:                            " db=0 user=us@er name=",
		"redis://default:pass%2Fword%3A%40@" + server.Addr + "/":                 " db=0 user=default name=",
		"redis://us%40er:se%23cret%3F@" + server.Addr + "/15?client_name=a:b%2F": " db=15 user=us@er name=a:b/",
	} {
		client := open(t, raw)
		info, err := client.Do(ctx, "CLIENT", "INFO").Text()
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		got := map[string]string{}
		for field := range strings.FieldsSeq(info) {
			name, value, _ := strings.Cut(field, "=")
			got[name] = value
		}
		for field := range strings.FieldsSeq(want + " resp=3") {
			name, value, _ := strings.Cut(field, "=")
			if got[name] != value {
				t.Errorf("%s: connection with %s=%s, want %s", raw, name, got[name], value)
			}
		}
	}
	// Each connection says who it is and which database it wants, and nothing else.
	for name := range server.CommandsByName(t) {
		switch name {
		case "acl|setuser", "client|info", "hello", "auth", "select", "client|setname":
		default:
			t.Errorf("a new connection sends %s", name)
		}
	}
}

func TestRefusedLoginsKeepThePassword(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	server.Do(t, "ACL", "SETUSER", "reader", "on", ">right", "~*", "+get")
	for raw, is := range map[string]func(error) bool{
		"redis://:secret@" + server.Addr:         redis.IsAuthError,
		"redis://reader:secret@" + server.Addr:   redis.IsAuthError,
		"redis://nobody:secret@" + server.Addr:   redis.IsAuthError,
		"redis://" + server.Addr:                 redis.IsAuthError,
		"redis://reader:right@" + server.Addr:    redis.IsPermissionError,
		"redis://:right@" + server.Addr + "/999": func(err error) bool { return strings.Contains(err.Error(), "index is out of range") },
	} {
		err := open(t, raw).Set(t.Context(), "k", "v", time.Minute).Err()
		if err == nil || !is(err) {
			t.Errorf("%s: set: %v; want an error that says what is refused", raw, err)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "right") {
			t.Errorf("%s: the error shows the password: %v", raw, err)
		}
	}
}

// A server that does not answer is given up on at the deadline of the call, or when
// the timeout in the URL has passed, whichever is first. Each call here has one of
// them that is short, and another that is longer than the test.
func TestServersThatDoNotAnswer(t *testing.T) {
	server := redistest.Start(t)
	cluster := redistest.SharedCluster(t)
	halted := redistest.Start(t)
	halted.Stop(t)
	defer halted.Continue(t)

	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	long, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for _, c := range []struct {
		raw string
		ctx context.Context
	}{
		{"redis://" + halted.Addr + "?read_timeout=1h", short},
		{"redis://" + halted.Addr + "?read_timeout=50ms", long},
		{"redis://" + halted.Addr + "?read_timeout=50ms", t.Context()},
		{"rediss://" + halted.Addr + "?dial_timeout=50ms", t.Context()},
		{"redis+sentinel://" + halted.Addr + "/main?read_timeout=1h", short},
		{"redis+sentinel://" + halted.Addr + "/main?read_timeout=50ms", t.Context()},
		{"redis+cluster://" + halted.Addr + "?read_timeout=1h", short},
		{"redis+cluster://" + halted.Addr + "?read_timeout=50ms", t.Context()},
	} {
		client := open(t, c.raw)
		for what, call := range map[string]func() error{
			"get": func() error { return client.Get(c.ctx, "k").Err() },
			"pipeline": func() error {
				_, err := client.Pipelined(c.ctx, func(p redis.Pipeliner) error { return p.Get(c.ctx, "k").Err() })
				return err
			},
		} {
			begin := time.Now()
			err := call()
			if took := time.Since(begin); err == nil || took > 10*time.Second {
				t.Errorf("%s: %s: %v after %s; want an error at once", c.raw, what, err, took)
			}
			if errors.Is(err, redis.Nil) {
				t.Errorf("%s: %s: the error is one of a miss: %v", c.raw, what, err)
			}
		}
	}
	// The others answer as long as it takes.
	for _, raw := range []string{"redis://" + server.Addr, "redis+cluster://" + cluster.Addrs[0]} {
		if err := open(t, raw).Get(long, "unanswered").Err(); err != redis.Nil {
			t.Errorf("%s: %v, want a miss", raw, err)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca, caKey := certificate(t, dir, "ca", nil, nil)
	certificate(t, dir, "server", ca, caKey)
	certificate(t, dir, "other", nil, nil)
	file := func(name string) string { return filepath.Join(dir, name) }

	port := freePort(t)
	redistest.Start(t, "--tls-port", port, "--tls-auth-clients", "no", "--tls-ca-cert-file", file("ca.pem"),
		"--tls-cert-file", file("server.pem"), "--tls-key-file", file("server.key"))

	for options, want := range map[string]string{
		"tls_server_name=redis.test&tls_ca=" + file("ca.pem"): "",
		"tls_insecure=true":                                      "",
		"tls_insecure=true&tls_server_name=other.test":           "",
		"tls_ca=" + file("ca.pem"):                               "127.0.0.1",
		"tls_server_name=other.test&tls_ca=" + file("ca.pem"):    "other.test",
		"tls_server_name=redis.test&tls_ca=" + file("other.pem"): "unknown authority",
		"tls_server_name=redis.test":                             "unknown authority",
		"tls_server_name=redis.test&tls_insecure=false":          "unknown authority",
	} {
		err := open(t, "rediss://127.0.0.1:"+port+"?"+options).Ping(t.Context()).Err()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("with %s: %v; want an error about %q", options, err, want)
		}
	}

	// tls_ca is instead of the authorities of the system, not beside them.
	only := x509.NewCertPool()
	only.AddCert(ca)
	client := open(t, "rediss://127.0.0.1:"+port+"?tls_ca="+file("ca.pem")).(*redis.Client)
	if !client.Options().TLSConfig.RootCAs.Equal(only) {
		t.Error("others are trusted than those in the file of tls_ca")
	}
	_, err := Open(parse(t, "rediss://127.0.0.1?tls_insecure=true&tls_ca="+file("ca.pem")))
	if err == nil || !strings.Contains(err.Error(), "tls_ca and tls_insecure=true exclude each other") {
		t.Errorf("tls_ca with tls_insecure: %v; want an error that says they exclude each other", err)
	}
}

// certificate writes a certificate for redis.test and its key to the files name.pem
// and name.key of dir. It signs itself unless there is a parent.
func certificate(t *testing.T, dir, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              []string{"redis.test"},
		IsCA:                  parent == nil,
		BasicConstraintsValid: true,
	}
	template.Subject.CommonName = name
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
