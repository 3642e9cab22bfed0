// Package tables is what operators do with tables, without a store and without a
// terminal: find and read files, merge a document into them, import and export
// spreadsheets, change a field, compare two documents for a person, show them without
// their secrets. edge-cfg is flags and output around it.
//
// It promises:
//
//   - A file is written whole or not at all, and of several files none is written
//     before the text of all is known.
//   - A file that is merged into says afterwards exactly what the document says: the
//     result is read back and compared by its hash. Items that are the same keep their
//     text; changed ones keep the comments on the fields that stay. Where lines can't
//     be told apart (flow style, anchors), the file is written anew.
//   - What a person edited since the last pull or push is not overwritten unless forced.
//   - A secret that stands literally in a table is in no text that is made to be shown.
//   - What is shown is written item by item: the memory does not grow with it.
//
// Tables are [config.Document]s throughout. Only linting decodes them, so that what
// this version can't run can still be compared, shown and repaired.
//
// A directory remembers in a file of its own ([Base]) what its tables were in the
// store. A crash between writing a table and that file leaves the old base: the worst
// that follows is a conflict that is none.
package tables
