package frame

import "time"

// Command asks for a value to be written to a tag. It is logged as a batch of
// kind [Cmd] (a "CmdFrame") before it is executed.
type Command struct {
	ID       string    // unique among commands in flight: correlation data, or topic and seq
	Tag      string    // which tag
	Value    Value     // in engineering units
	Seq      uint64    // the sender's own number, 0 if none
	Source   string    // who asked: "mqtt:/edge/cmd/…", "admin:uid=1000"
	Received time.Time // when the gateway got it
	Expires  time.Time // zero: never; a stale command is not executed
}

// CommandResult says what became of a [Command].
type CommandResult struct {
	OK       bool
	Unknown  bool   // not OK, and nobody can tell whether it was executed
	Reason   string // why not; if OK, how it is known or what was odd, "" as a rule
	ReadBack Value  // what the device holds afterwards; none if not verified
	TS       int64  // when the device confirmed it, Unix nanoseconds
}
