package modbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// job is something that a caller wants done ahead of polls. The poller does it
// over the lease that it has or gets next.
type job struct {
	ctx   context.Context
	do    func(*link) error // called again after a connection was lost, up to retry times
	tries int
	done  chan error // capacity 1
}

// submit has do done by the poller and waits for it.
func (d *modbusDriver) submit(ctx context.Context, do func(*link) error) error {
	select {
	case <-d.started:
	default:
		return driver.ErrNotRunning
	}
	j := &job{ctx: ctx, do: do, done: make(chan error, 1)}
	select {
	case d.jobs <- j:
	case <-d.stopped:
		return driver.ErrNotRunning
	case <-ctx.Done():
		return fmt.Errorf("wait for other writes: %w", context.Cause(ctx))
	}
	select {
	case err := <-j.done:
		return err
	case <-d.stopped:
		return driver.ErrNotRunning
	case <-ctx.Done():
		return fmt.Errorf("wait for the device: %w", context.Cause(ctx))
	}
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
		p.finishJob(err)
		return nil
	}
	err := j.do(p.link)
	if code := exceptionCode(err); (code == ServerDeviceBusy || code == Acknowledge) && j.tries < p.d.settings.Retry {
		j.tries++
		p.jobAt = time.Now().Add(jitter(busyPause))
		return nil
	}
	if intact(err) || errors.Is(err, ErrVerify) {
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
		p.finishJob(err)
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
		p.finishJob(driver.ErrNotRunning)
	}
}
