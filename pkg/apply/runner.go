package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Plant is what a configuration is applied to.
type Plant interface {
	// Prepare does all that can fail without disturbing what runs: it compiles
	// and constructs what next needs. The plant still runs old.
	Prepare(ctx context.Context, old, next *config.Snapshot) (Change, error)
}

// Change takes a plant from one snapshot to another, phase by phase. The runner
// calls each phase at most once and in the order of the methods, leaving out what
// Needs doesn't ask for. A phase that fails may have been done in part.
type Change interface {
	Needs() Needs
	// Impact describes the change for the log: "drain e1; restart d1,d2".
	Impact() string
	// Drain stops the drivers of endpoints that change and closes these.
	Drain(ctx context.Context) error
	// Restart stops and starts drivers.
	Restart(ctx context.Context) error
	// Reload swaps the points of drivers that go on.
	Reload(ctx context.Context) error
	// Verify waits until what ran before runs again, or fails.
	Verify(ctx context.Context) error
	// Commit makes the new snapshot the last good one, durably.
	Commit(ctx context.Context) error
	// Rollback brings the plant back to the old snapshot, however far the
	// phases came. It may be called after any failed phase.
	Rollback(ctx context.Context) error
}

// Outcome is how an apply ended.
type Outcome string

// The outcomes. A gateway reports them as its state.
const (
	Applied    Outcome = "applied"
	Rejected   Outcome = "rejected"    // refused by prepare; nothing was touched
	RolledBack Outcome = "rolled_back" // a phase failed and the old snapshot runs again
	BrokenDown Outcome = "failed"      // the rollback failed too
)

// Result describes one apply.
type Result struct {
	ID       uint64 // counts the applies of this process
	Rev      uint64
	SHA256   string
	Author   string // of the release
	Message  string
	Outcome  Outcome
	Err      error // why not applied; nil if it was
	FailedIn State // the phase that failed
	Impact   string
	Began    time.Time
	Duration time.Duration
	Phases   []PhaseTime
}

// PhaseTime is how long a phase took.
type PhaseTime struct {
	State    State
	Duration time.Duration
}

// Progress is told, from the goroutine that applies, when a phase begins.
type Progress struct {
	ID    uint64
	Rev   uint64
	State State
	Time  time.Time
}

// Timeouts bound the phases. A phase that exceeds its bound has failed.
type Timeouts struct {
	Phase  time.Duration // each phase but verify
	Verify time.Duration
}

// Runner applies snapshots to a plant, one at a time.
type Runner struct {
	plant    Plant
	timeouts Timeouts
	log      *slog.Logger
	metrics  *metrics
	progress func(Progress)

	current atomic.Pointer[config.Snapshot] // can be read while an apply runs
	newest  atomic.Uint64                   // revision of the newest one that waits

	mu      sync.Mutex // held while an apply runs
	applies uint64
	broken  bool
}

// RunnerConfig is what a [Runner] is made of. Progress may be nil.
type RunnerConfig struct {
	Plant    Plant
	Timeouts Timeouts
	Log      *slog.Logger
	Metrics  *Metrics
	Progress func(Progress)
}

// NewRunner returns a runner whose plant runs nothing yet.
func NewRunner(c RunnerConfig) *Runner {
	progress := c.Progress
	if progress == nil {
		progress = func(Progress) {}
	}
	r := &Runner{plant: c.Plant, timeouts: c.Timeouts, log: c.Log, metrics: &c.Metrics.metrics, progress: progress}
	r.current.Store(&config.Snapshot{})
	return r
}

// Current returns the snapshot that was committed last: what the plant runs unless
// an apply is under way. It does not wait for one.
func (r *Runner) Current() *config.Snapshot { return r.current.Load() }

// patience is how long a verify may take while something newer waits: drivers that have
// not begun to work by then rather don't than do.
const patience = time.Second

// errNewer is why a verify ended that had time left.
var errNewer = errors.New("something newer waits")

// Newer tells that a configuration of this revision waits for the apply that runs: if
// that is an older one, its verify is not given all its time.
func (r *Runner) Newer(rev uint64) { r.newest.Store(rev) }

// verify waits for the drivers, but no longer than patience while something newer waits.
func (r *run) verify(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- r.change.Verify(ctx) }()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil && errors.Is(context.Cause(ctx), errNewer) {
				err = fmt.Errorf("not verified within %s, and %w: %w", patience, errNewer, err)
			}
			return err
		case <-tick.C:
			if r.newest.Load() > r.next.Rev && time.Since(began) >= patience {
				cancel(errNewer)
			}
		}
	}
}

// Renumber gives the snapshot that runs another revision: the source has put the
// same configuration in force anew.
func (r *Runner) Renumber(rev uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := *r.Current()
	same.Rev = rev
	r.current.Store(&same)
	r.metrics.revision.Set(float64(rev))
}

// ErrBroken is the error of every apply after a rollback has failed.
var ErrBroken = errors.New("an earlier rollback failed: the gateway must be restarted")

// Apply takes the plant to next and waits for the outcome. Whatever happens, the
// plant runs the old snapshot or the new one, never parts of both, unless the
// outcome is [BrokenDown]. A ctx that ends makes the running phase fail; the
// rollback still runs, on its own time. With boot nothing is verified: it is the
// first configuration of a process, and a device that is away then is no reason
// not to run the others.
func (r *Runner) Apply(ctx context.Context, next *config.Snapshot, boot bool) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applies++
	run := &run{Runner: r, next: next, boot: boot, result: Result{ID: r.applies, Rev: next.Rev, SHA256: next.SHA256,
		Author: next.Author, Message: next.Message, Began: time.Now()}}
	run.log = r.log.With("apply", r.applies, "rev", next.Rev)
	if r.broken {
		run.result.Outcome, run.result.Err, run.result.FailedIn = BrokenDown, ErrBroken, Broken
		return run.result
	}
	run.loop(ctx)
	run.finish()
	return run.result
}

// run is one apply on its way through the machine.
type run struct {
	*Runner
	log    *slog.Logger
	next   *config.Snapshot
	boot   bool
	change Change
	result Result
}

func (r *run) loop(ctx context.Context) {
	state, effect, _ := step(Idle, Submitted, Needs{})
	for effect < DoReject {
		r.progress(Progress{ID: r.result.ID, Rev: r.next.Rev, State: state, Time: time.Now()})
		began := time.Now()
		err := r.do(ctx, effect)
		r.result.Phases = append(r.result.Phases, PhaseTime{state, time.Since(began)})
		event, needs := Done, Needs{}
		if r.change != nil {
			needs = r.change.Needs()
		}
		if err != nil {
			event = Failed
			r.blame(state, err)
		}
		state, effect, _ = step(state, event, needs)
	}
	switch effect {
	case DoSucceed:
		r.result.Outcome = Applied
		r.current.Store(r.next)
	case DoReject:
		r.result.Outcome = Rejected
	case DoGiveBack:
		r.result.Outcome = RolledBack
	case DoBreakDown:
		r.result.Outcome = BrokenDown
		r.broken = true
	}
}

// blame keeps the first failure as the reason and adds a failed rollback to it.
func (r *run) blame(state State, err error) {
	if r.result.Err == nil {
		r.result.Err, r.result.FailedIn = err, state
		return
	}
	r.result.Err = fmt.Errorf("%w; and the rollback failed: %w", r.result.Err, err)
}

// do runs one effect within its time.
func (r *run) do(ctx context.Context, effect Effect) error {
	limit := r.timeouts.Phase
	switch effect {
	case DoVerify:
		limit = r.timeouts.Verify
	case DoRollback:
		// Giving up half-way is worse than being late.
		ctx = context.WithoutCancel(ctx)
		r.metrics.rollbacks.Inc()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not begun: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %s", limit))
	defer cancel()
	err := r.phase(ctx, effect)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

func (r *run) phase(ctx context.Context, effect Effect) (err error) {
	switch effect {
	case DoPrepare:
		r.change, err = r.plant.Prepare(ctx, r.Current(), r.next)
		if err == nil {
			r.result.Impact = r.change.Impact()
		}
		return err
	case DoDrain:
		return r.change.Drain(ctx)
	case DoRestart:
		return r.change.Restart(ctx)
	case DoReload:
		return r.change.Reload(ctx)
	case DoVerify:
		if r.boot {
			return nil
		}
		return r.verify(ctx)
	case DoCommit:
		return r.change.Commit(ctx)
	case DoRollback:
		return r.change.Rollback(ctx)
	}
	return fmt.Errorf("effect %d is unknown", effect)
}

// finish counts and tells the outcome.
func (r *run) finish() {
	r.result.Duration = time.Since(r.result.Began)
	r.metrics.observe(&r.result)
	attrs := []any{"outcome", r.result.Outcome, "impact", r.result.Impact, "duration_ms", r.result.Duration.Milliseconds(), "phases", phaseText(r.result.Phases)}
	switch r.result.Outcome {
	case Applied:
		r.log.Info("configuration applied", attrs...)
	case BrokenDown:
		r.log.Error("configuration NOT applied, and the old one could not be put back", append(attrs, "failed_in", r.result.FailedIn.String(), "error", r.result.Err)...)
	default:
		r.log.Warn("configuration not applied; the old one runs", append(attrs, "failed_in", r.result.FailedIn.String(), "error", r.result.Err)...)
	}
}

func phaseText(phases []PhaseTime) string {
	text := ""
	for i, p := range phases {
		if i > 0 {
			text += " "
		}
		text += fmt.Sprintf("%s=%s", p.State, p.Duration.Round(10*time.Microsecond))
	}
	return text
}
