//go:build !linux

package mqtt

// unsent cannot be told here: the answer's time runs from when a message was written.
func (c *conn) unsent() int { return 0 }
