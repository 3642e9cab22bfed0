package audit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The kinds of breaks.
const (
	Changed    = "changed"    // the hash is not that of the record
	Missing    = "missing"    // numbers are left out
	Replaced   = "replaced"   // prev is not the hash of the record before
	Forked     = "forked"     // a number that came before, with another record
	Misplaced  = "misplaced"  // a number from before, out of its order
	Restarted  = "restarted"  // a new chain begins
	Unreadable = "unreadable" // not a record
	NotAnchor  = "anchor"     // not the record that the auditor has noted
)

const (
	maxBreaks  = 200  // told one by one; the others are counted
	maxRecent  = 4096 // records of which a repeat is known as one
	maxAhead   = 64   // records that may come before their turn
	maxUnknown = 100  // runs of frames that can't be read
)

// Mark is a record's place. An auditor who notes N and Hash of the last record has an
// anchor for the next time.
type Mark struct {
	N    uint64    `json:"n"`
	Hash string    `json:"hash"`
	Time time.Time `json:"time"`
	Seq  uint64    `json:"seq"` // of its frame; 0: unknown
}

// Run is a part of a chain that is whole.
type Run struct {
	First Mark `json:"first"`
	Last  Mark `json:"last"`
}

// Break is a place where the chain does not hold.
type Break struct {
	Kind string `json:"kind"`
	N    uint64 `json:"n"`
	Seq  uint64 `json:"seq"`
	Text string `json:"text"`
}

// Report is what a verification found.
type Report struct {
	Records    uint64   `json:"records"` // read, repeats included
	Repeats    uint64   `json:"repeats"` // that came again, unchanged
	Runs       []Run    `json:"whole"`
	Breaks     []Break  `json:"breaks"`
	MoreBreaks int      `json:"more_breaks"` // not in Breaks
	Unknown    []string `json:"unknown"`     // what can't be known from this copy
}

// Whole reports whether nothing breaks the chain.
func (r *Report) Whole() bool { return len(r.Breaks) == 0 }

// record is what verifying needs of one.
type record struct {
	Mark
	prev string
}

// Verifier takes records in the order of their frames. Its memory is bounded, whatever
// comes.
type Verifier struct {
	anchors []*anchor
	told    func(Mark, []byte) error
	toldErr error // the first

	report  Report
	last    *record           // of the run that is whole so far
	ahead   []record          // that came before their turn, sorted by number
	recent  map[uint64]string // hashes by number
	numbers []uint64          // of recent, oldest first
}

type anchor struct {
	Mark
	met, other bool // the record came; another came with its number
}

// NewVerifier holds records also against anchors that an auditor noted.
func NewVerifier(anchors ...Mark) *Verifier {
	v := &Verifier{recent: map[uint64]string{}, report: Report{Runs: []Run{}, Breaks: []Break{}, Unknown: []string{}}}
	for _, m := range anchors {
		v.anchors = append(v.anchors, &anchor{Mark: m})
	}
	return v
}

// Tell has tell called with each record that can be read, as it comes. Told returns its
// first error.
func (v *Verifier) Tell(tell func(m Mark, text []byte) error) { v.told = tell }

// Told returns the first error of the function that [Verifier.Tell] was given.
func (v *Verifier) Told() error { return v.toldErr }

// ParseAnchor reads N:HASH.
func ParseAnchor(s string) (Mark, error) {
	number, hash, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n == 0 || len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return Mark{}, fmt.Errorf("anchor %q: expected N:HASH, as an earlier audit printed it", s)
	}
	return Mark{N: n, Hash: hash}, nil
}

// Unreadable notes frames that can't be read: there may be records among them.
func (v *Verifier) Unreadable(first, last uint64, why string) {
	if len(v.report.Unknown) < maxUnknown {
		v.report.Unknown = append(v.report.Unknown, fmt.Sprintf("frames %d to %d can't be read (%s): there may be records among them", first, last, why))
	}
}

// Take takes the JSON of the next record, and the seq of its frame.
func (v *Verifier) Take(seq uint64, text []byte) {
	v.report.Records++
	r, hash, err := parse(text)
	r.Seq = seq
	if err != nil {
		v.fail(Unreadable, &r, "no audit record: "+err.Error())
		return
	}
	if v.told != nil && v.toldErr == nil {
		v.toldErr = v.told(r.Mark, text)
	}
	if r.Hash != hash {
		v.fail(Changed, &r, fmt.Sprintf("record %d was changed: its hash is not that of what it says", r.N))
		return
	}
	for _, a := range v.anchors {
		a.met = a.met || a.N == r.N && a.Hash == r.Hash
		a.other = a.other || a.N == r.N && a.Hash != r.Hash
	}
	v.place(r)
}

// place puts a record, which is whole in itself, where it belongs.
func (v *Verifier) place(r record) {
	known, seen := v.recent[r.N]
	switch {
	case seen && known == r.Hash:
		v.report.Repeats++
		return
	case v.last == nil:
		v.begin(r)
	case r.N == 1 && r.prev == "":
		v.skip(0)
		v.fail(Restarted, &r, fmt.Sprintf("a new chain begins after record %d: the end of the old one (audit.chain in data_dir) was lost, removed or put back. "+
			"Whether there were more records of the old chain can't be known", v.last.N))
		clear(v.recent)
		v.numbers = nil
		v.begin(r)
	case seen:
		v.fail(Forked, &r, fmt.Sprintf("record %d is there twice, and the two differ", r.N))
		return
	case r.N <= v.last.N:
		v.fail(Misplaced, &r, fmt.Sprintf("record %d comes after record %d", r.N, v.last.N))
		return
	default:
		at, _ := slices.BinarySearchFunc(v.ahead, r.N, func(a record, n uint64) int { return cmp.Compare(a.N, n) })
		v.ahead = slices.Insert(v.ahead, at, r)
	}
	v.remember(&r)
	v.follow()
	v.skip(maxAhead)
}

// begin begins a run. Of more than can be told, the last takes the place of the one before.
func (v *Verifier) begin(r record) {
	v.last = &r
	if n := len(v.report.Runs); n > maxBreaks {
		v.report.Runs = v.report.Runs[:n-1]
	}
	v.report.Runs = append(v.report.Runs, Run{First: r.Mark, Last: r.Mark})
}

// follow goes on with the records that are next.
func (v *Verifier) follow() {
	for len(v.ahead) > 0 && v.ahead[0].N == v.last.N+1 {
		r := v.ahead[0]
		v.ahead = v.ahead[1:]
		if r.prev != v.last.Hash {
			v.fail(Replaced, &r, fmt.Sprintf("record %d does not follow on record %d: one of the two is not the one that was written", r.N, v.last.N))
			v.begin(r)
			continue
		}
		v.last = &r
		v.report.Runs[len(v.report.Runs)-1].Last = r.Mark
	}
}

// skip gives up waiting for records until no more than most have come before their turn.
func (v *Verifier) skip(most int) {
	for len(v.ahead) > most {
		r := v.ahead[0]
		v.ahead = v.ahead[1:]
		v.fail(Missing, &r, those(v.last.N+1, r.N-1)+" missing")
		v.begin(r)
		v.follow()
	}
}

// those names records by their numbers.
func those(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("record %d is", first)
	}
	return fmt.Sprintf("records %d to %d are", first, last)
}

// remember notes a record, to know a repeat.
func (v *Verifier) remember(r *record) {
	if len(v.numbers) == maxRecent {
		delete(v.recent, v.numbers[0])
		v.numbers = v.numbers[1:]
	}
	v.recent[r.N] = r.Hash
	v.numbers = append(v.numbers, r.N)
}

func (v *Verifier) fail(kind string, r *record, text string) {
	if len(v.report.Breaks) == maxBreaks {
		v.report.MoreBreaks++
		return
	}
	v.report.Breaks = append(v.report.Breaks, Break{Kind: kind, N: r.N, Seq: r.Seq, Text: text})
}

// Report ends the verification.
func (v *Verifier) Report() Report {
	v.skip(0)
	v.judgeAnchors()
	if v.last == nil {
		v.unknown("there is no audit record in this copy: whether there ever was one can't be known")
		return v.report
	}
	if first := v.report.Runs[0].First; first.N > 1 {
		v.unknown(those(1, first.N-1) + " not in this copy: retention took what was there, or it began later. Whether that was whole can't be known from it")
	}
	v.unknown(fmt.Sprintf("whether records after %d were cut off can't be known from this copy: compare it with a later one, or with what the consumers hold", v.last.N))
	return v.report
}

func (v *Verifier) judgeAnchors() {
	for _, a := range v.anchors {
		r := &record{Mark: a.Mark}
		switch {
		case a.met:
		case a.other:
			v.fail(NotAnchor, r, fmt.Sprintf("record %d is not the one that the anchor names: the chain was written anew", a.N))
		case v.last == nil || a.N > v.last.N:
			v.fail(NotAnchor, r, fmt.Sprintf("record %d, which the anchor names, is not there: the end was cut off, or this copy is older", a.N))
		default:
			v.unknown(fmt.Sprintf("record %d, which an anchor names, is not in this copy: it can't be compared", a.N))
		}
	}
}

func (v *Verifier) unknown(text string) { v.report.Unknown = append(v.report.Unknown, text) }

// parse reads a record and computes its hash. A record is flat, and no key comes twice: two
// readers would read different things, under one hash.
func parse(text []byte) (r record, hash string, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return r, "", errors.New("expected a JSON object")
	}
	object := map[string]any{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return r, "", err
		}
		name, _ := key.(string) // the decoder accepts no other keys
		value, err := dec.Token()
		if err != nil {
			return r, "", err
		}
		if _, nested := value.(json.Delim); nested {
			return r, "", fmt.Errorf("%s is not a text or a number", name)
		}
		if _, twice := object[name]; twice {
			return r, "", fmt.Errorf("%s is there twice", name)
		}
		object[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return r, "", err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, "", errors.New("something follows the object")
	}
	number, _ := object["n"].(json.Number)
	if r.N, err = strconv.ParseUint(number.String(), 10, 64); err != nil || r.N == 0 {
		return r, "", errors.New("n is not a number from 1 on")
	}
	r.Hash, _ = object["hash"].(string)
	r.prev, _ = object["prev"].(string)
	at, _ := object["time"].(string)
	r.Time, _ = time.Parse(time.RFC3339Nano, at) // the zero time is printed as unknown
	hash, err = hashOf(object)
	return r, hash, err
}
