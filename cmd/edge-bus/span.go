package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	numbers "github.com/edge-gateway/edge-gateway/pkg/number"
)

// placeForms says in help what a place in the log is.
const placeForms = `a seq (both ends included) or a time (--from included, --to
not): 14:03, 'yesterday 14:03', '2026-11-27 14:03', '2026-11-27 14:03 +01:00',
2026-11-27T14:03:00Z, or a time ago (-15m). A time without a day is the last one
that passed, for --to the first one after --from. A time without a zone is in this
machine's.`

// spanFlags are the flags --from and --to.
type spanFlags struct{ from, to string }

func (f *spanFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.from, "from", "", "first seq, or a time such as 14:03, 'yesterday 14:03' or -15m")
	flags.StringVar(&f.to, "to", "", "last seq, or a time; default: the newest frame now")
}

// parse reads both; what is not given is open.
func (f *spanFlags) parse(now time.Time) (r admin.Range, err error) {
	if f.from != "" {
		if r.FromSeq, r.FromTime, err = parsePlace(f.from, func(s string) (time.Time, error) { return moment.Parse(s, now) }); err != nil {
			return r, cli.Usagef("--from: %w", err)
		}
	}
	if f.to != "" {
		end := func(s string) (time.Time, error) {
			if r.FromTime.IsZero() {
				return moment.Parse(s, now)
			}
			return moment.ParseAfter(s, r.FromTime, now)
		}
		if r.ToSeq, r.ToTime, err = parsePlace(f.to, end); err != nil {
			return r, cli.Usagef("--to: %w", err)
		}
		if r.ToSeq == 0 && r.ToTime.IsZero() {
			return r, cli.Usagef("--to 0: expected a seq of 1 or more")
		}
	}
	if r.ToSeq != 0 && r.ToSeq < r.FromSeq || !r.ToTime.IsZero() && !r.FromTime.IsZero() && !r.ToTime.After(r.FromTime) {
		return r, cli.Usagef("--to %s is before --from %s: nothing lies between", f.to, f.from)
	}
	return r, nil
}

// parsePlace reads a seq or, by moment, a time.
func parsePlace(s string, moment func(string) (time.Time, error)) (seq uint64, at time.Time, err error) {
	seq, err = numbers.Uint(s, math.MaxUint64)
	if err == nil {
		return seq, time.Time{}, nil
	}
	// 14:03:20 is a number to YAML 1.1 and a time to people.
	if e, ok := errors.AsType[*numbers.Error](err); ok && e.Kind != numbers.NoNumber && !strings.Contains(s, ":") {
		return 0, time.Time{}, err
	}
	if at, err = moment(s); err != nil {
		return 0, at, fmt.Errorf("%w; or a seq", err)
	}
	return 0, at, nil
}

// heldText says what the log holds, in seqs and in times.
func heldText(s *pb.GetBusStatsResponse) string {
	if s.FirstSeq > s.LastSeq {
		return "the log is empty"
	}
	text := fmt.Sprintf("the log holds seq %d to %d", s.FirstSeq, s.LastSeq)
	if s.FirstTime != nil {
		text += fmt.Sprintf(", logged %s to %s", moment.Format(admin.Time(s.FirstTime)), moment.Format(admin.Time(s.LastTime)))
	}
	return text
}

// spanText says what r was understood as.
func spanText(r admin.Range) string {
	from, to := "the oldest frame", "now"
	switch {
	case r.FromSeq > 0:
		from = fmt.Sprintf("seq %d", r.FromSeq)
	case !r.FromTime.IsZero():
		from = moment.Format(r.FromTime)
	}
	switch {
	case r.ToSeq > 0:
		to = fmt.Sprintf("seq %d", r.ToSeq)
	case !r.ToTime.IsZero():
		to = moment.Format(r.ToTime)
	}
	return from + " to " + to
}
