// Package packages tests what scripts/package makes: that the packages install, upgrade
// and go away as the system's own tools expect it, on a copy of this machine that is
// thrown away. It needs root, lintian and rpm: make package-test.
package packages
