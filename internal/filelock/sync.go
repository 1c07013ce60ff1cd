package filelock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// Sync returns when what was created, renamed or removed in a folder will be found so
// also after the power has failed. A folder that is not there has nothing to keep.
func (s *Space) Sync(ctx context.Context, shard int) error {
	return s.Write(ctx, func() error {
		if runtime.GOOS == "windows" {
			return nil // folders cannot be flushed there
		}
		f, err := os.Open(s.Folder(shard))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		err = f.Sync()
		_ = f.Close()
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
			return nil // a file system without a disk
		}
		return err
	})
}
