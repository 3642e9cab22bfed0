//go:build !linux

package wal

import "errors"

// openTailFile is for Linux so far.
func openTailFile(string, int) (tailFile, error) { return tailFile{}, errors.ErrUnsupported }
