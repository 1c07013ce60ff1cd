package memcached_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// encrypted puts TLS before a server. It returns its address and a file with the
// certificate.
func encrypted(t *testing.T, server *memcachedtest.Server) (addr, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer in.Close()
				out, err := net.Dial("tcp", server.Addr)
				if err != nil {
					return
				}
				all.Go(func() {
					_, _ = io.Copy(in, out)
					_ = in.Close()
				})
				_, _ = io.Copy(out, in)
				_ = out.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String(), ca
}

func TestTLS(t *testing.T) {
	addr, ca := encrypted(t, memcachedtest.Shared(t, 1)[0])
	for options, works := range map[string]bool{
		"?tls_ca=" + ca:                        true,
		"?tls_insecure=true":                   true,
		"":                                     false,
		"?tls_ca=" + ca + "&tls_server_name=x": false,
	} {
		b, err := backend.Open("memcacheds://" + addr + options)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		items := []backend.Item{{Key: lateKey, Entry: &backend.Entry{Data: []byte("secret")}}}
		_, err = b.Set(t.Context(), items, nil)
		if err := errors.Join(err, items[0].Err); (err == nil) != works {
			t.Errorf("%q: Set = %v, want it to work: %v", options, err, works)
		} else if !works {
			var wrong *tls.CertificateVerificationError
			if !errors.As(err, &wrong) {
				t.Errorf("%q: Set = %v, want an error about the certificate", options, err)
			}
			continue
		}
		if found, err := b.Get(t.Context(), lateKey, nil); err != nil || found.Entry == nil {
			t.Errorf("%q: Get = %v, %v", options, found, err)
		}
		if err := b.(*memcached.Backend).Ping(t.Context()); err != nil {
			t.Errorf("%q: Ping = %v", options, err)
		}
	}
}
