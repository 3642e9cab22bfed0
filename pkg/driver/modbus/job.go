package modbus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// job is something that a caller wants done ahead of polls. The poller does it
// over the lease that it has or gets next.
type job struct {
	ctx context.Context
	// do takes one step. It is called again after a [goOn], and after a connection
	// was lost, up to retry times.
	do     func(*link) error
	giveUp func(error) error // makes the caller's error of why the job was given up
	doubt  func(error) error // the same of why the caller did not wait for a claimed job
	tries  int
	done   chan error // capacity 1
	state  atomic.Int32
}

// The states of a job. A caller who does not wait any longer takes a job back that
// nobody has claimed: then it has no effect on the device.
const (
	jobFree int32 = iota
	jobClaimed
	jobTakenBack
)

// errOvertaken is the end of a job whose caller took it back.
var errOvertaken = errors.New("the caller does not wait any longer")

func newJob(ctx context.Context, do func(*link) error) *job {
	as := func(err error) error { return err }
	return &job{ctx: ctx, do: do, giveUp: as, doubt: as, done: make(chan error, 1)}
}

// claim is called before the device is made to do something.
func (j *job) claim() bool { return j.state.CompareAndSwap(jobFree, jobClaimed) }

// unclaim is called when the device surely did nothing.
func (j *job) unclaim() { j.state.CompareAndSwap(jobClaimed, jobFree) }

func (j *job) takeBack() bool { return j.state.CompareAndSwap(jobFree, jobTakenBack) }

// goOn is what a job returns that is not done: it goes on after a pause, over the
// next lease. Others may use the line meanwhile.
type goOn struct {
	after time.Duration
	conn  error // why the connection can't be used any more; nil if it can
}

// Error implements error.
func (g *goOn) Error() string { return "to be continued" }

// ended is what a job returns that is done whatever became of the connection.
type ended struct {
	result error // for the caller
	conn   error // why the connection can't be used any more; nil if it can
}

// Error implements error.
func (e *ended) Error() string { return fmt.Sprint(e.result) }

// startPatience is how long a job waits for Run to begin.
const startPatience = time.Second

// submit has j done by the poller and waits for it.
func (d *modbusDriver) submit(j *job) error {
	if !d.awaitStart(j.ctx) {
		return driver.ErrNotRunning
	}
	select {
	case d.jobs <- j:
	case <-d.stopped:
		return driver.ErrNotRunning
	case <-j.ctx.Done():
		return fmt.Errorf("wait for other writes: %w", context.Cause(j.ctx))
	}
	select {
	case err := <-j.done:
		return err
	case <-d.stopped:
		if j.takeBack() {
			return driver.ErrNotRunning
		}
		select {
		case err := <-j.done: // the poller tells what became of what it had begun
			return err
		case <-j.ctx.Done():
		}
	case <-j.ctx.Done():
	}
	err := fmt.Errorf("wait for the device: %w", context.Cause(j.ctx))
	if j.takeBack() {
		return err
	}
	return j.doubt(err)
}

// awaitStart waits a while for Run to begin: a command may come while the gateway
// starts.
func (d *modbusDriver) awaitStart(ctx context.Context) bool {
	select {
	case <-d.started:
		return true
	default:
	}
	timer := time.NewTimer(startPatience)
	defer timer.Stop()
	select {
	case <-d.started:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// jobWaiting reports whether a job should go ahead of polls now.
func (p *poller) jobWaiting(now time.Time) bool {
	if p.job != nil {
		return !now.Before(p.jobAt)
	}
	return len(p.d.jobs) > 0
}

// takeJob makes p.job the job to be done now, if there is one.
func (p *poller) takeJob() bool {
	if p.job == nil {
		select {
		case p.job = <-p.d.jobs:
			p.jobAt = time.Time{}
		default:
		}
	}
	return p.job != nil && !time.Now().Before(p.jobAt)
}

// runJob does p.job over the link. It returns an error if the connection is
// lost; then the job goes on over the next one, if it may.
func (p *poller) runJob() error {
	j := p.job
	if err := j.ctx.Err(); err != nil {
		p.finishJob(j.giveUp(err))
		return nil
	}
	p.link.fault = p.fault
	err := j.do(p.link)
	if more, ok := errors.AsType[*goOn](err); ok {
		p.jobAt = time.Now().Add(more.after)
		return more.conn
	}
	if end, ok := errors.AsType[*ended](err); ok {
		p.finishJob(end.result)
		return end.conn
	}
	if code := exceptionCode(err); (code == ServerDeviceBusy || code == Acknowledge) && j.tries < p.d.settings.Retry {
		j.tries++
		p.jobAt = time.Now().Add(jitter(busyPause))
		return nil
	}
	if intact(err) {
		p.finishJob(err)
		return nil
	}
	p.failJob(err)
	return err
}

// failJob tries p.job again later, or gives it up: at once while the device is
// in fault.
func (p *poller) failJob(err error) {
	if !p.takeJob() {
		return
	}
	if p.job.tries++; p.fault || p.job.tries > p.d.settings.Retry || p.job.ctx.Err() != nil {
		p.finishJob(p.job.giveUp(err))
		return
	}
	p.jobAt = time.Now().Add(jitter(retryBase))
}

func (p *poller) finishJob(err error) {
	p.job.done <- err
	p.job = nil
}

// abandonJobs tells those who wait that nobody does their job any more.
func (p *poller) abandonJobs() {
	for p.takeJob() || p.job != nil {
		p.finishJob(p.job.giveUp(driver.ErrNotRunning))
	}
}
