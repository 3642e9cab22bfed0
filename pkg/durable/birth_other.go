//go:build !linux

package durable

// birthTime is not known here.
func birthTime(string) (made int64, ok bool, err error) { return 0, false, nil }
