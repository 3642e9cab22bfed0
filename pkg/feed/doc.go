// Package feed says where a gateway's tables come from: the contract of a [Feed], its
// one state ([Status]), and the feed of a directory ([Dir]). The feed of a config
// center is package center's.
//
// It promises:
//
//   - One goroutine owns what a feed hands out. Whoever else wants something (a person
//     who reloads, or puts an earlier configuration back) has it done by the owner, in
//     turn ([Queue]). No apply overlaps another.
//   - There is one state value, and everything that shows the state shows that.
//   - A directory's contents decide, once they stay the same; a removal of more than half
//     of a table needs a person's word.
//   - What was refused is refused once, and what runs goes on.
//   - What a person put back, and what broke a process down, is not run again by
//     itself, through restarts, until the source changes or a person asks.
//
// # Crashes, with a directory
//
// Of a directory the gateway keeps in its data_dir the snapshot that was applied last,
// the one before it, and which document is not to be run. Each file is replaced whole.
//
//	crash …                                        ⇒ the next process
//	while an apply runs                              applies the directory, as if it were new
//	after the one before was kept, before the last   finds the last one in both: a rollback goes nowhere until the next change
//	after a person's rollback noted the hold         runs the last good one and shows it as pinned
//	after an apply broke down, before the hold       tries the same configuration once more
package feed
