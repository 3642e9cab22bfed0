// Package adminpb is the generated code of the admin API, whose source is
// schemas/admin/v1. `make generate` makes it anew.
package adminpb
