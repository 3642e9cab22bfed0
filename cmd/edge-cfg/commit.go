package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// pushFlags are those of the commands that change the store.
type pushFlags struct {
	message string
	yes     bool
	dryRun  bool
	allow   string // how many items may be removed without being asked for
	wait    string // whom to wait for: online, all, or names
	noWait  bool
	timeout time.Duration
	sign    string // the key's file
	order   uint64 // of the signature, at least
	waveFlags
}

func (f *pushFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.message, "message", "m", "", "why, for the log")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would change, and change nothing")
	cmd.Flags().StringVar(&f.wait, "wait", "online", "wait until these gateways run it (`online|all|NAME,…`); exit code 4 if one doesn't")
	cmd.Flags().Lookup("wait").NoOptDefVal = "online"
	cmd.Flags().BoolVar(&f.noWait, "no-wait", false, "do not wait for the gateways")
	cmd.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "wait no longer than this")
	cmd.Flags().StringVar(&f.sign, "sign", "", "sign it with the key in `KEYFILE`, for gateways with policy.signers ('edge-cfg key new' makes one)")
	cmd.Flags().Uint64Var(&f.order, "order", 0, "with --sign: an order of `N` at least, where a signer's clock was wrong")
	f.waveFlags.add(cmd)
	cli.AddOutputFlag(cmd)
}

func (f *pushFlags) addYes(cmd *cobra.Command) {
	cli.AddYesFlag(cmd, &f.yes)
}

// whom reads --wait.
func (f *pushFlags) whom() (center.Whom, error) {
	switch f.wait {
	case "online", "true": // as the environment has it
		return center.Whom{}, nil
	case "all":
		return center.Whom{All: true}, nil
	}
	var w center.Whom
	for name := range strings.SplitSeq(f.wait, ",") {
		if name = strings.TrimSpace(name); !config.ValidKey(name) {
			return w, cli.Usagef("--wait=%s: expected online, all, or names of gateways with commas between them", f.wait)
		}
		w.Names = append(w.Names, name)
	}
	return w, nil
}

// allowed reads --allow-delete.
func (f *pushFlags) allowed() (int, error) {
	if f.allow == "all" {
		return math.MaxInt, nil
	}
	n, err := number.Int(f.allow, 0, math.MaxInt)
	if err != nil {
		return 0, cli.Usagef("--allow-delete %s: expected a number, or all", f.allow)
	}
	return int(n), nil
}

// change is a document that is to replace the head.
type change struct {
	head  center.Version
	doc   *config.Document
	force bool
	// anew makes the change of another head, where somebody else has pushed meanwhile.
	// nil: that is a conflict.
	anew func(head center.Version) (*config.Document, error)
}

// pushTries is how often a change that can be made anew is pushed before others are let
// win: each loses to one that does not.
const pushTries = 20

// push pushes the change, made anew as often as others come first.
func (ch *change) push(ctx context.Context, s *center.Store, opts center.PushOptions) (center.Commit, error) {
	for try := 1; ; try++ {
		c, err := s.Push(ctx, ch.head, ch.doc, opts)
		if conflict := (*center.ConflictError)(nil); ch.anew == nil || try == pushTries || !errors.As(err, &conflict) {
			return c, err
		}
		head, loadErr := s.Load(ctx)
		if loadErr != nil {
			return c, loadErr
		}
		doc, anewErr := ch.anew(head)
		if anewErr != nil {
			return c, errors.Join(anewErr, err)
		}
		if doc == nil {
			return c, err
		}
		ch.head, ch.doc = head, doc
	}
}

// pushed is the result of a command that changes the store.
type pushed struct {
	Rev      int64           `json:"rev"` // with --dry-run: of the head
	SHA256   string          `json:"sha256"`
	Changed  int             `json:"changed"` // items
	Changes  config.Changes  `json:"changes"`
	DryRun   bool            `json:"dry_run,omitempty"`
	Rollout  *center.Rollout `json:"rollout,omitempty"`  // that begins
	Gateways []gatewayStatus `json:"gateways,omitempty"` // what each did, unless --no-wait
}

// commitDocument shows a change, asks, makes it, and waits for the gateways where
// that is wanted. A commit that is returned was made (or was there already), even
// if there is an error too.
func commitDocument(ctx context.Context, cmd *cobra.Command, s *center.Store, ch change, flags *pushFlags) (center.Commit, error) {
	whom, err := flags.whom()
	if err != nil {
		return center.Commit{}, err
	}
	opts, err := flags.signing()
	if err != nil {
		return center.Commit{}, err
	}
	if opts.Rollout, err = flags.plan(); err != nil {
		return center.Commit{}, err
	}
	opts.Replace = flags.replace
	if ch.head.Commit.Signature != nil && opts.Sign == nil && !flags.dryRun {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: what is in force is signed, and this is not: gateways with policy.signers refuse it; --sign KEYFILE signs it")
	}
	diff := tables.Compare(ch.head.Document(), ch.doc)
	out := cli.NewOutput(cmd)
	text := out.Writer()
	if out.Format != cli.FormatTable {
		text = cmd.ErrOrStderr()
	}
	if err := showChanges(cmd, text, diff, 50); err != nil {
		return center.Commit{}, err
	}
	var begins *center.Rollout
	if ch.doc.Layered() {
		ids, of := tables.Affected(ch.head.Document(), ch.doc)
		fmt.Fprintln(text, affectedText(ids, of))
		if err := flags.guard(len(ids)); err != nil {
			return center.Commit{}, err
		}
	}
	if opts.Rollout != nil {
		if begins, err = s.PreviewRollout(ctx, ch.head, ch.doc, opts.Rollout, opts.Replace); err != nil {
			return center.Commit{}, err
		}
		showPlan(out, text, begins)
	}
	res := pushed{Rev: ch.head.Commit.Rev, SHA256: ch.doc.SHA256(), Changed: diff.Len(), Changes: diff.Counts(), DryRun: flags.dryRun}
	c := ch.head.Commit
	switch {
	case flags.dryRun:
	case ch.force && opts.Sign == nil && diff.Len() == 0 && ch.head.Doc != nil && !c.None():
		if _, err := s.Rewrite(ctx, ch.head); err != nil { // what the person is after: the keys as they should be
			return center.Commit{}, err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "the document and the item keys of rev %d were written anew\n", c.Rev)
	case diff.Len() > 0 || c.None() || ch.head.Doc == nil || signs(opts, c, ch.force):
		if err := askForChange(cmd, diff, flags); err != nil {
			return center.Commit{}, err
		}
		opts.Author, opts.Message, opts.Force = author(cmd), flags.message, ch.force
		err = cli.During(cmd, fmt.Sprintf("writing %s", words.Count(diff.Len(), "change")), func() (err error) {
			c, err = ch.push(ctx, s, opts)
			return cli.Interrupted(cmd, err, "the change was made whole or not at all: 'edge-cfg log' shows it if it was")
		})
		if err != nil {
			return center.Commit{}, err
		}
		res.Rev, res.SHA256 = c.Rev, c.SHA256
	}
	if c.Rollout != "" && c.Rollout == c.ID && begins != nil && !flags.dryRun {
		if res.Rollout, err = s.Rollout(ctx); err == nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "release %d: rollout begun; it goes on without this terminal ('edge-cfg rollout status' tells how)\n", c.Release)
		}
	} else if !flags.noWait && !flags.dryRun {
		res.Gateways, err = waitApplied(ctx, cmd, s, c, whom, flags.timeout)
	}
	if printErr := out.Print(res, func(t *cli.Table) { t.Row(res.String()) }); err == nil {
		err = printErr
	}
	return c, err
}

// affectedText says how many gateways of a fleet a change concerns.
func affectedText(ids []string, of int) string {
	out := fmt.Sprintf("renders differently on %d of %s", len(ids), words.Count(of, "gateway"))
	if n := len(ids); n > 5 {
		ids = append(ids[:5:5], fmt.Sprintf("%d more", n-5))
	}
	if len(ids) > 0 {
		out += ": " + strings.Join(ids, ", ")
	}
	return out
}

// String says in a line what happened.
func (p pushed) String() string {
	switch {
	case p.DryRun && p.Changed > 0:
		return fmt.Sprintf("would change %s; nothing was pushed", words.Count(p.Changed, "item"))
	case p.Changed == 0:
		return fmt.Sprintf("nothing differs from rev %d", p.Rev)
	}
	return fmt.Sprintf("rev %d, %s changed (%s)", p.Rev, words.Count(p.Changed, "item"), p.SHA256[:12])
}

// askForChange asks a person. Removals need more than a general yes.
func askForChange(cmd *cobra.Command, d *tables.Difference, flags *pushFlags) error {
	allowed, err := flags.allowed()
	if err != nil {
		return err
	}
	n := d.Removed()
	if flags.yes && n > allowed {
		return cli.Usagef("this removes %s; add --allow-delete %d (or all) if you mean it", words.Count(n, "item"), n)
	}
	question := fmt.Sprintf("Push %s?", words.Count(d.Len(), "change"))
	if n > 0 {
		question = fmt.Sprintf("Push %s, removing %s?", words.Count(d.Len(), "change"), words.Count(n, "item"))
	}
	return cli.Confirm(cmd, flags.yes, question)
}
