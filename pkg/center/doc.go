// Package center keeps the gateways' tables in etcd: the tools push, compare and
// roll back with a [Store], a gateway follows with a [Follower]. It knows the tables
// as [config.Document]s: items of canonical JSON whose meaning is not its business.
//
// # Keys
//
//	<prefix>/commit                          the commit in force: which document, who, why, and a small delta
//	<prefix>/releases/<n>                    every commit there was, without delta
//	<prefix>/<table>/<id>                    the items one by one, for people and other tools
//	<prefix>/pending                         a push in steps, under a lease
//	<prefix>/dirty                           the item keys may not be those of the commit
//	<prefix>/sources/<sha256>/…              the document of a commit with layers, as docs/…
//	<prefix>/for/<gateway>                   what one gateway of a fleet runs, from which release on
//	<prefix>/docs/<sha256>/head              size and number of the chunks
//	<prefix>/docs/<sha256>/chunk/<i>         900 KiB of the document each, compressed by itself
//	/edge/fleet/v1/<hash>/status/<gateway>   a gateway's status, kept for ever; <hash> is the prefix's
//	/edge/fleet/v1/<hash>/alive/<gateway>    it runs: under a lease
//	/edge/fleet/v1/<hash>/retry/<gateway>    it is asked to try again
//
// Each reader and writer needs some of these and no others, so that etcd's roles can say
// so (roles.go): a gateway reads commit, releases and docs of its own prefix, and writes
// the three keys of its own.
//
// The version before this one kept documents at /edge/config/backup/<sha256>/ and statuses
// at /edge/status/v1/<hash>/<gateway>, for all prefixes and gateways. Both are read, where
// the role reaches so far, and neither is written: a gateway of that version beside one of
// this version follows by the deltas, and by the item keys where it looks for a document.
//
// # A push is whole or not at all
//
// What is in force is what the commit record says, and nothing else: one key,
// written by one transaction that compares the commit which the writer read. Readers
// take the record and the document of its hash, and check the hash; they never
// depend on the item keys, nor on an old revision, which compaction may have taken.
//
// A push that fits in one transaction is one transaction: document, items, commit,
// release. It requires that nobody holds pending and nothing is dirty. A larger one
// goes in steps, each a transaction that compares the create revision of pending:
//
//  1. pending (leased) and dirty, if the commit still is the base
//
//  2. the chunks, the header last
//
//  3. the items, in batches
//
//  4. commit and release, in exchange for pending and dirty, if the commit still is
//     the base and the document is there
//
//     crash or kill -9 …        ⇒ readers see   and the next push
//     before 1 or after 4         old or new      as usual
//     between 1 and 4             old             waits for the lease (10 s), finds dirty, reads the item keys
//     as they are and writes what differs from its own document
//     of a writer that hangs,     the other's     its transactions compare pending, which isn't its own
//     then goes on                                any more: none of them takes effect
//
// A transaction whose answer is lost is sent again. Each is made so that doing it
// twice is doing it once; the completing one finds its own random id in the commit,
// or, if others have pushed on top by then, in its release.
//
// Documents are written under their hash and never changed, so they need no order
// among writers. They are given up when they are not among the last releases; the
// transaction that removes one compares that no push was made in between or is under way.
//
// # A gateway follows
//
// It reads the commit, then watches that one key from the revision it read at. A
// commit that carries its delta, with the base that the gateway holds, is applied
// from the record; otherwise the document is loaded. While an apply runs, commits
// queue up and only the newest is applied. Whatever breaks the chain (compaction, a
// member without a leader, an expired lease, a cluster restored from a backup) ends the
// session, and the next one reads anew. Every 30 s the commit is read as well, should a
// watch be deaf.
//
// A restored cluster uses its revisions again, and its cluster id may be the same. So
// commits are told apart by their random id and documents by their hash, and each answer
// to the lease's renewal is looked at: a revision or a term that goes back has the commit
// read at once. A push compares the id of its base before its transactions compare the
// revision. A release is never written over, and a store that has releases but no commit
// is damaged, not empty.
//
// The last configuration that ran is in a file, so a gateway starts without the
// store. The file also remembers a commit that failed here, so that a restart begins
// with the one before, and doesn't try the bad one again until it is asked to, its
// software has changed, or another commit comes.
//
// # A fleet
//
// A document with layers (package overlay) is no gateway's. Its commit has format 2, which an
// older gateway refuses. It is kept where gateways have no right to read, and the push renders
// what each of them runs: a stored document, shared by those of the same groups, and a delta.
// The gateway's record holds that with the number of the release from which it counts, and
// what counted before. In one transaction a gateway reads the commit and its record, and takes
// the newest version whose release is not above the commit's.
//
// Such a push always goes in steps, with the records between the documents and the items:
//
//	crash or kill -9 …       ⇒ gateways see                and the next push
//	before the commit          the version before it         drops versions above the commit
//	after it                   their new version             as usual
//
// What a record names is never pruned. A gateway without a version, or whose version says that
// it is not in the fleet any more, stays as it is. One that ran a fleet's document never fills
// an empty store, never puts the store back, and takes a plain document only when a person
// asks for that.
//
// # Waves
//
// A push in waves puts both sides of each gateway into its record, and the rollout's record
// next to the commit, in the transaction that makes it count. Nothing drives it from there:
// package rollout says what each gateway runs, from that record and two counts of votes, which
// it reads in one transaction with the commit. What a gateway knows of the rollout (a halt that
// it saw, its verdict, its starts) is in a file of its own, written before it is acted upon:
//
//	kill -9 …                 ⇒ the gateway
//	before an apply             begins it again; the third start within a bake time is bad
//	after it, before a verdict  runs the new side, bakes it again, and votes
//	after the verdict           votes on that
//	in a vote                   finds its vote, or casts it once more
//
// A vote compares the record that it was decided on, so none outlives an operator's act, and
// it is never changed. The push that follows writes the outcome and deletes the votes, in its
// one transaction: from then on the outcome alone counts.
//
// A gateway_id belongs to the instance (the data directory) that registered it
// first, until it is forgotten: durably with the status record, and against a copy of
// the data directory on a second machine with the alive key, whose lease names the
// machine's boot.
package center
