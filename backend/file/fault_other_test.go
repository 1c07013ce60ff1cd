//go:build !linux && !darwin

package file_test

import "errors"

var errNotHere = errors.New("this system cannot do that")

func mkfifo(string) error { return errNotHere }

func limitFiles(uint64) error { return errNotHere }

func limitSizes(uint64) error { return errNotHere }
