package file_test

import (
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
	"github.com/dogpile-go/dogpile/internal/deploytest"
)

func TestTwoReleases(t *testing.T) {
	dir := t.TempDir()
	deploytest.Run(t, func() backend.Backend { return open(t, dir, file.Config{}) })
}
