package tables

import (
	"fmt"
	"os"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
)

// WriteFile puts b in place of a file whole, or not at all. A file that is there
// is never opened to more people than may read it now.
func WriteFile(path string, b []byte, mode os.FileMode) error {
	if fi, err := os.Stat(path); err == nil {
		mode &= fi.Mode().Perm()
	}
	if err := durable.WriteFile(path, b, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
