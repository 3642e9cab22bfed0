package driver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Job is something that a caller wants done ahead of polls: a write, or a read on
// demand. The goroutine that polls does it over the connection C that it has or gets
// next, so that a device is asked one thing after the other.
type Job[C any] struct {
	Ctx context.Context
	// Do takes one step. It is called again after a [GoOn], and after a connection was
	// lost, as often as the driver allows.
	Do     func(C) error
	GiveUp func(error) error // makes the caller's error of why the job was given up
	Doubt  func(error) error // the same of why the caller did not wait for a claimed job
	At     time.Time         // not before
	Tries  int               // in vain

	done  chan error // capacity 1
	state atomic.Int32
}

// The states of a job. A caller who does not wait any longer takes a job back that
// nobody has claimed: then it has no effect on the device.
const (
	jobFree int32 = iota
	jobClaimed
	jobTakenBack
)

// ErrOvertaken is the end of a job whose caller took it back.
var ErrOvertaken = errors.New("the caller does not wait any longer")

// NewJob returns a job whose errors are told as they are.
func NewJob[C any](ctx context.Context, do func(C) error) *Job[C] {
	as := func(err error) error { return err }
	return &Job[C]{Ctx: ctx, Do: do, GiveUp: as, Doubt: as, done: make(chan error, 1)}
}

// Claim is called before the device is made to do something. It reports whether the
// caller still waits.
func (j *Job[C]) Claim() bool { return j.state.CompareAndSwap(jobFree, jobClaimed) }

// Unclaim is called when the device surely did nothing.
func (j *Job[C]) Unclaim() { j.state.CompareAndSwap(jobClaimed, jobFree) }

func (j *Job[C]) takeBack() bool { return j.state.CompareAndSwap(jobFree, jobTakenBack) }

// Finish tells the caller how the job ended. It is called once.
func (j *Job[C]) Finish(err error) { j.done <- err }

// GoOn is what a step of a job returns that is not the last: the job goes on after a
// pause. Others may use the line meanwhile.
type GoOn struct {
	After time.Duration
	Conn  error // why the connection can't be used any more; nil if it can
}

// Error implements error.
func (g *GoOn) Error() string { return "to be continued" }

// Ended is what a job returns that is done whatever became of the connection.
type Ended struct {
	Result error // for the caller
	Conn   error // why the connection can't be used any more; nil if it can
}

// Error implements error.
func (e *Ended) Error() string { return fmt.Sprint(e.Result) }

const (
	jobQueue      = 16          // jobs that may wait
	startPatience = time.Second // a command may come while the gateway starts
)

// Jobs are the jobs of a driver that wait for the goroutine that polls.
type Jobs[C any] struct {
	queue   chan *Job[C]
	started chan struct{}
	stopped chan struct{}
}

// NewJobs returns an empty queue of a driver that does not run yet.
func NewJobs[C any]() *Jobs[C] {
	return &Jobs[C]{queue: make(chan *Job[C], jobQueue), started: make(chan struct{}), stopped: make(chan struct{})}
}

// Begin says that the driver runs. It is called once.
func (q *Jobs[C]) Begin() { close(q.started) }

// end says that nobody takes jobs any more, and gives up those that wait.
func (q *Jobs[C]) end() {
	close(q.stopped)
	for {
		select {
		case j := <-q.queue:
			j.Finish(j.GiveUp(ErrNotRunning))
		default:
			return
		}
	}
}

// Submit has j done and waits for it; device names what is waited for.
func (q *Jobs[C]) Submit(j *Job[C], device string) error {
	if !q.awaitStart(j.Ctx) {
		return ErrNotRunning
	}
	select {
	case q.queue <- j:
	case <-q.stopped:
		return ErrNotRunning
	case <-j.Ctx.Done():
		return fmt.Errorf("wait for other writes: %w", context.Cause(j.Ctx))
	}
	select {
	case err := <-j.done:
		return err
	case <-q.stopped:
		if j.takeBack() {
			return ErrNotRunning
		}
		select {
		case err := <-j.done: // it is told what became of what had begun
			return err
		case <-j.Ctx.Done():
		}
	case <-j.Ctx.Done():
	}
	err := fmt.Errorf("wait for %s: %w", device, context.Cause(j.Ctx))
	if j.takeBack() {
		return err
	}
	return j.Doubt(err)
}

// awaitStart waits a while for the driver to begin.
func (q *Jobs[C]) awaitStart(ctx context.Context) bool {
	select {
	case <-q.started:
		return true
	default:
	}
	timer := time.NewTimer(startPatience)
	defer timer.Stop()
	select {
	case <-q.started:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Turn is the job that the goroutine which polls is doing, over several connections if
// need be. It belongs to that goroutine.
type Turn[C any] struct {
	jobs *Jobs[C]
	job  *Job[C] // nil: none
}

// NewTurn returns a turn that takes its jobs from jobs.
func NewTurn[C any](jobs *Jobs[C]) Turn[C] { return Turn[C]{jobs: jobs} }

// Job returns the job being done, nil if there is none.
func (t *Turn[C]) Job() *Job[C] { return t.job }

// C returns the jobs to choose from, none while one is being done. What comes is to be
// given to [Turn.Begin].
func (t *Turn[C]) C() <-chan *Job[C] {
	if t.job != nil {
		return nil
	}
	return t.jobs.queue
}

// Begin makes j the job being done.
func (t *Turn[C]) Begin(j *Job[C]) { t.job = j }

// Waiting reports whether a job should go ahead of polls now.
func (t *Turn[C]) Waiting(now time.Time) bool {
	if t.job != nil {
		return !now.Before(t.job.At)
	}
	return len(t.jobs.queue) > 0
}

// Take makes the job that waits longest the one being done, if there is none, and
// reports whether it may go on now.
func (t *Turn[C]) Take(now time.Time) bool {
	if t.job == nil {
		select {
		case t.job = <-t.jobs.queue:
		default:
		}
	}
	return t.job != nil && !now.Before(t.job.At)
}

// At returns when the job being done goes on, or at, if that is earlier.
func (t *Turn[C]) At(at time.Time) time.Time {
	if t.job != nil && t.job.At.Before(at) {
		return t.job.At
	}
	return at
}

// Step takes a step of the job over conn. If the job ended, or goes on later, done is
// true and lost is why the connection can't be used any more, nil if it can. If done is
// false, lost is what the step failed with; the caller says what becomes of the job.
func (t *Turn[C]) Step(conn C) (done bool, lost error) {
	j := t.job
	if err := j.Ctx.Err(); err != nil {
		t.GiveUp(err)
		return true, nil
	}
	err := j.Do(conn)
	if more, ok := errors.AsType[*GoOn](err); ok {
		j.At = time.Now().Add(more.After)
		return true, more.Conn
	}
	if end, ok := errors.AsType[*Ended](err); ok {
		t.Finish(end.Result)
		return true, end.Conn
	}
	return false, err
}

// Finish tells the caller how the job being done ended.
func (t *Turn[C]) Finish(err error) {
	t.job.Finish(err)
	t.job = nil
}

// GiveUp ends the job being done before it is done, because of err.
func (t *Turn[C]) GiveUp(err error) { t.Finish(t.job.GiveUp(err)) }

// End gives up what is not done, and says that nobody takes jobs any more. It is called
// once, when the driver stops.
func (t *Turn[C]) End() {
	if t.job != nil {
		t.GiveUp(ErrNotRunning)
	}
	t.jobs.end()
}
