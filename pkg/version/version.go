// Package version says which build this is.
package version

import "runtime/debug"

// version is set by the linker in release builds.
var version string

// String returns the release ("v0.1.0"), or the commit that the binary was built
// from, or "dev".
func String() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}
