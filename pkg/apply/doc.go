// Package apply takes a running gateway from one configuration to another with the
// least disturbance that is possible, and back if it does not work.
//
// # States
//
//	Idle ──submitted──► Preparing ──► DrainEP ──► RestartDrv ──► ReloadMap ──► Verifying ──► Committing ──► Idle
//	  ▲                     │            │            │              │             │             │
//	  ├──────rejected───────┘            └────────────┴──────┬───────┴─────────────┴─────────────┘
//	  │                                                   failed
//	  │                                                      ▼
//	  └─────────────────────rolled back────────────────  RollingBack ──failed──► Broken
//
//	Preparing    endpoints, settings and drivers of the change are checked and constructed; nothing is touched
//	DrainEP      drivers of endpoints that change or go are stopped, then the endpoints drained
//	RestartDrv   drivers that go are stopped, those that changed or come are started
//	ReloadMap    settings are set; drivers of which only variables changed get these
//	Verifying    drivers of the change that read their devices before must do so again (config.verify)
//	Committing   the snapshot is kept as the last good one
//	RollingBack  what was touched, and no more, is put back
//
// DrainEP, RestartDrv and ReloadMap are left out where [Needs] does not ask for
// them. The function step is the whole machine; [Runner] carries out its effects on
// a [Plant]. [NewPlant] makes the one of drivers, endpoints and settings.
//
// # What is promised
//
// Apply ends with the old snapshot running or the new one, never parts of both, or
// with [BrokenDown]: then the rollback has failed, the runner refuses everything
// with [ErrBroken], and the process has to be restarted.
//
// A driver outside of the change is not called at all, in a rollback neither. One of
// which only variables changed is not stopped. One that changed is replaced: the
// new one is constructed before the old one ends, and takes over its last values.
// Only drivers of endpoints that change, or that go to another endpoint, end first,
// and start without last values.
//
// A tag that moves from one driver to another is taken from the first before the
// second gets it, in a rollback too: two that both published it could leave its
// consumers with the older value. For that moment no driver has the tag, and a
// write to it fails with driver.ErrUnknownTag.
//
// # Rollback
//
// A rollback is the same code with the two snapshots swapped (transition.go), for the
// drivers that an operation was begun on. It differs in one thing: items of a phase are
// worked on side by side, so a failed phase is done in part, and some drivers are new,
// some old, some stopped. The rollback does not reason about which. Every such driver is
// started as it was, and the contract of [Drivers] makes that right from anywhere: what
// runs as described is left alone, what runs otherwise is replaced. Two kinds end first
// that do not on the way there: drivers whose Stop or Start failed with driver.ErrStuck,
// because they have been told to end and would be taken for running; and drivers that
// changed and may have a tag that goes back. Endpoints, those that the change added
// included, are drained only if drivers may have connected to them: a drain that failed is
// not tried again. The rollback goes on after errors, ignores the end of Apply's context,
// and has a phase's time of its own.
//
// # Verify
//
// A driver counts as running before if its state was driver.Running in Preparing;
// one that was starting gets two seconds to show what it is, so that a bad
// configuration which comes again at once is measured against drivers that are
// back. Paused drivers are not verified, and neither are those that were at fault:
// their device was away before. In the mode strict all drivers of the change are,
// but those that are paused or have nothing to read. The first configuration of a
// process is not verified.
//
// # Ordering and concurrency
//
// Applies run one at a time, in the order of the calls as far as these do not
// overlap; who has newer snapshots coming in keeps the newest and drops the others.
// Phases never overlap; within one at most 32 items are worked on at a time. After
// the first error of a phase nothing more of it is begun, and what has begun is
// waited for. An operation must return soon after its context ends: nothing is
// abandoned, since it could take effect after the rollback. Progress is called from
// the goroutine of Apply and must not call Apply. [Runner.Current] can be called at
// any time and does not wait.
//
// # Crashes
//
// Nothing of an apply is on disk before Commit, which is atomic and durable: with
// config.source dir the gateway keeps the snapshot in data_dir/config.last-good.json
// (written beside it, synced, renamed), with etcd its follower keeps the commit in
// data_dir/config.cache after Apply has returned. Processes hold no state of the
// plant beyond their life: connections are gone with them, and each start builds
// the plant from nothing. So a crash leaves nothing to repair.
//
//	gateway dies in …          ⇒ after the restart
//	Preparing … Verifying      dir: the directory as it is, not verified, since it is the first; the old snapshot if it
//	                           can't be used. etcd: the old snapshot from the cache, then the commit in force, which is
//	                           prepared and verified as any other; the old one alone while etcd is away
//	Committing, before rename  as above; the file beside is garbage that nobody reads
//	Committing, after rename   the new snapshot runs, as it would have
//	after Committing (etcd),   as in Verifying
//	  before the cache
//	RollingBack                as in Verifying: the rollback itself left nothing on disk
//	rolled back (dir)          the directory is tried again; the old snapshot if prepare refuses it
//	rolled back (etcd),        as in Verifying: it fails again
//	  before the cache
//	rolled back (etcd)         the verdict on the bad commit is in the cache: the old snapshot runs, the commit is not
//	                           tried again, and the store is put back if that had not been done
//	Broken                     the gateway replaces its process, once. The bad configuration is not tried again: with
//	                           etcd as in the line before, with dir by a note in data_dir/config.hold.json, until the
//	                           directory changes. If the new process breaks as well it ends, for its supervisor to see
//
// If Commit returns an error the old snapshot is put back. Should only the sync of
// the directory have failed, the next start may find the new one, which had been
// verified: either is whole.
//
// # Testing against it
//
// [Plant] and [Change] are what a runner needs; [Drivers], [Endpoints] and [Settings]
// are what the plant of the gateway needs. The tests here have a fake of the latter
// that fails on demand, as the contracts allow, and run the real driver.Manager with
// drivers of their own. Time comes from package time alone, so testing/synctest
// works. EDGE_APPLY_HISTORIES=10000 makes the random histories a long campaign.
package apply
