// Package config holds the gateway's three tables (endpoints, drivers, variables) and
// its settings.
//
// A [Document] is one whole configuration as it is stored, sent and compared: items
// of canonical JSON, by table and id. It has one canonical form, one hash, and one
// difference, of which [Document.Changes] tells the items, [Document.Diff] the
// fields, and a [Delta] what another holder of the base needs. It knows nothing of
// what the items mean, so it can hold what this version can't decode.
//
// A [Snapshot] is the decoded view of a document: Go values that a gateway runs. It
// is made from files ([LoadDir], [ReadFiles]), which are read strictly, with the
// position in every error, or from a document ([Document.Snapshot]), where only what
// differs from an earlier snapshot is decoded. Each knows the other:
// [Snapshot.Document] costs nothing. Both are immutable.
//
// What is special about a [Table] stands in table.go, once.
package config
