package s7

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// job is something that a caller wants done ahead of polls. The poller does it over the
// session that it has or gets next.
type job struct {
	ctx context.Context
	// do takes one step. It is called again after a [goOn], and after a connection was
	// lost.
	do     func(*session) error
	giveUp func(error) error // makes the caller's error of why the job was given up
	doubt  func(error) error // the same of why the caller did not wait for a claimed job
	at     time.Time         // not before
	tries  int               // connections that were lost over it
	done   chan error        // capacity 1
	state  atomic.Int32
}

// The states of a job. A caller who does not wait any longer takes a job back that
// nobody has claimed: then it has no effect on the PLC.
const (
	jobFree int32 = iota
	jobClaimed
	jobTakenBack
)

// errOvertaken is the end of a job whose caller took it back.
var errOvertaken = errors.New("the caller does not wait any longer")

func newJob(ctx context.Context, do func(*session) error) *job {
	as := func(err error) error { return err }
	return &job{ctx: ctx, do: do, giveUp: as, doubt: as, done: make(chan error, 1)}
}

// claim is called before the PLC is made to do something.
func (j *job) claim() bool { return j.state.CompareAndSwap(jobFree, jobClaimed) }

// unclaim is called when the PLC surely did nothing.
func (j *job) unclaim() { j.state.CompareAndSwap(jobClaimed, jobFree) }

func (j *job) takeBack() bool { return j.state.CompareAndSwap(jobFree, jobTakenBack) }

// goOn is what a job returns that is not done: it goes on after a pause.
type goOn struct {
	after time.Duration
	conn  error // why the connection can't be used any more; nil if it can
}

// Error implements error.
func (g *goOn) Error() string { return "to be continued" }

// intact reports whether the connection can be used on after err: the PLC answered, if
// only with a refusal.
func intact(err error) bool {
	_, refused := errors.AsType[*Refusal](err)
	return err == nil || refused || errors.Is(err, ErrRange)
}

// startPatience is how long a job waits for Run to begin: a command may come while the
// gateway starts.
const startPatience = time.Second

// submit has j done by the poller and waits for it.
func (d *s7Driver) submit(j *job) error {
	timer := time.NewTimer(startPatience)
	defer timer.Stop()
	select {
	case <-d.started:
	case <-timer.C:
		return driver.ErrNotRunning
	case <-j.ctx.Done():
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
	err := fmt.Errorf("wait for the PLC: %w", context.Cause(j.ctx))
	if j.takeBack() {
		return err
	}
	return j.doubt(err)
}

// jobWaiting reports whether a job should go ahead of polls now.
func (p *poller) jobWaiting(now time.Time) bool {
	if p.job != nil {
		return !now.Before(p.job.at)
	}
	return len(p.d.jobs) > 0
}

// takeJob makes p.job the job to be done now, if there is one.
func (p *poller) takeJob(now time.Time) bool {
	if p.job == nil {
		select {
		case p.job = <-p.d.jobs:
		default:
		}
	}
	return p.job != nil && !now.Before(p.job.at)
}

// runJob does p.job over the session. It returns an error if the connection is lost;
// then the job goes on over the next one, if it may.
func (p *poller) runJob() error {
	j := p.job
	if err := j.ctx.Err(); err != nil {
		p.finishJob(j.giveUp(err))
		return nil
	}
	err := j.do(p.ses)
	if more, ok := errors.AsType[*goOn](err); ok {
		j.at = time.Now().Add(more.after)
		return more.conn
	}
	if end, ok := errors.AsType[*ended](err); ok {
		p.finishJob(end.result)
		return end.conn
	}
	if intact(err) {
		p.finishJob(err)
		return nil
	}
	return err // failJob has it
}

// ended is what a job returns that is done whatever became of the connection.
type ended struct {
	result error // for the caller
	conn   error // why the connection can't be used any more; nil if it can
}

// Error implements error.
func (e *ended) Error() string { return fmt.Sprint(e.result) }

// failJob keeps p.job for the next connection, or gives it up: at once while the tags
// are told bad.
func (p *poller) failJob(err error) {
	if p.job == nil {
		return
	}
	if p.job.tries++; p.fails > p.s.Retry || p.job.tries > p.s.Retry+1 || p.job.ctx.Err() != nil {
		p.failJobNow(err)
	}
}

// failJobNow gives p.job up, if the PLC is away.
func (p *poller) failJobNow(err error) {
	if p.fails > p.s.Retry || p.job.tries > p.s.Retry+1 || p.job.ctx.Err() != nil {
		p.finishJob(p.job.giveUp(err))
	}
}

func (p *poller) finishJob(err error) {
	p.job.done <- err
	p.job = nil
}

// abandonJobs tells those who wait that nobody does their job any more.
func (p *poller) abandonJobs() {
	for {
		if p.job == nil {
			select {
			case p.job = <-p.d.jobs:
			default:
				return
			}
		}
		p.finishJob(p.job.giveUp(driver.ErrNotRunning))
	}
}

// Read implements driver.Driver. Raw is the bytes as the PLC holds them.
func (d *s7Driver) Read(ctx context.Context, tag string) (driver.Reading, error) {
	p := d.newest()
	i, ok := p.table.Index(tag)
	if !ok {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, driver.ErrUnknownTag)
	}
	if v := p.table.Variable(i); !v.Access.Readable() {
		return driver.Reading{}, fmt.Errorf("read %s: %w: the variable has access %s", tag, driver.ErrAccess, v.Access)
	}
	pt := p.points[i]
	var r driver.Reading
	err := d.submit(newJob(ctx, func(c *session) error {
		data, err := c.read(pt.Place)
		if err != nil {
			return err
		}
		raw, quality := pt.decode(data)
		r = driver.Reading{Raw: data, TS: time.Now().UnixNano()}
		if r.Value, r.Quality = p.table.Scale(i, raw); quality > r.Quality {
			r.Quality = quality
		}
		return nil
	}))
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	return r, nil
}
