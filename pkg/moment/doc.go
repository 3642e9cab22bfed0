// Package moment is the one home of times that people write and read.
//
// [Parse] reads a time as people say it. [Format] and its kin write one. They always
// name the zone: a person who compares a time with another machine's, or with a
// broker's log, must not have to guess it.
package moment
