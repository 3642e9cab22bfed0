//go:build !unix

package intake

import "math"

// lastDescriptor is out of reach: the system has handles, and no limit of their number
// that a process could meet.
func lastDescriptor() int { return math.MaxInt }
