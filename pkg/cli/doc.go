// Package cli is what the four commands share, so that they behave alike: one
// [Main] that turns signals into a context and errors into exit codes, flags that
// also read the environment, the output formats table, json and yaml, colours only
// where they help, and a question before something that cannot be undone.
//
// Standard output carries data and nothing else. Progress, questions, hints and errors
// are for a person and go to standard error.
package cli
