// Package audit chains audit records, and verifies chains of them.
//
// Each record has a number n, the hash of the record before it (prev), and its own hash:
// the SHA-256 of its JSON without hash, keys sorted, no spaces, with <, >, & and U+2028,
// U+2029 written as \u escapes. A record that is changed, left out, put in or moved breaks
// the chain. Whoever has the disk can begin a new chain, and can't make one that holds a
// record that an auditor has noted: an anchor.
//
// Crash argument: the end of the chain is on disk before its record goes to the log. A
// crash between the two leaves a number without a record, which verifying tells as
// missing; the other order would give two records one number.
package audit
