package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
)

// BenchmarkHit compares a hit with what it is made of: two files that are read.
func BenchmarkHit(b *testing.B) {
	dir := b.TempDir()
	side := open(b, dir, file.Config{})
	guards := []backend.Guard{{Region: "users"}}
	data := make([]byte, 300)
	set(b, side, "k", data)
	if _, err := side.Stamps(b.Context(), guards); err != nil {
		b.Fatal(err)
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, data, 0o600); err != nil {
		b.Fatal(err)
	}
	b.Run("ReadFileTwice", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range 2 {
				if _, err := os.ReadFile(plain); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if found, err := side.Get(b.Context(), key("k"), guards); err != nil || found.Entry == nil {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("GetParallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if found, err := side.Get(b.Context(), key("k"), guards); err != nil || found.Entry == nil {
					b.Fatal(found, err)
				}
			}
		})
	})
}

func BenchmarkWrite(b *testing.B) {
	side := open(b, b.TempDir(), file.Config{})
	entry := &backend.Entry{Data: make([]byte, 300)}
	keys := make([]backend.Key, 1000)
	for i := range keys {
		keys[i] = key(fmt.Sprint(i))
	}
	b.Run("Set", func(b *testing.B) {
		for b.Loop() {
			set(b, side, "k", entry.Data)
		}
	})
	b.Run("AcquireAndPublish", func(b *testing.B) {
		for b.Loop() {
			grants, _, err := side.Acquire(b.Context(), keys[:1], nil)
			if err != nil {
				b.Fatal(err)
			}
			if err := put(b, side, backend.Item{Key: keys[0], Entry: entry, Lease: grants[0].Lease}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Delete", func(b *testing.B) {
		for b.Loop() {
			if err := side.Delete(b.Context(), keys[:1]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("AcquireAndPublish1000", func(b *testing.B) {
		for b.Loop() {
			grants, _, err := side.Acquire(b.Context(), keys, nil)
			if err != nil {
				b.Fatal(err)
			}
			items := make([]backend.Item, len(keys))
			for i := range items {
				items[i] = backend.Item{Key: keys[i], Entry: entry, Lease: grants[i].Lease}
			}
			if _, err := side.Set(b.Context(), items, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
