package modbus

import (
	"errors"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// jobWaiting reports whether a job should go ahead of polls now.
func (p *poller) jobWaiting(now time.Time) bool {
	if p.job != nil {
		return !now.Before(p.job.At)
	}
	return p.d.jobs.Waiting()
}

// takeJob makes p.job the job to be done now, if there is one.
func (p *poller) takeJob() bool {
	if p.job == nil {
		p.job = p.d.jobs.Next()
	}
	return p.job != nil && !time.Now().Before(p.job.At)
}

// runJob does p.job over the link. It returns an error if the connection is
// lost; then the job goes on over the next one, if it may.
func (p *poller) runJob() error {
	j := p.job
	if err := j.Ctx.Err(); err != nil {
		p.finishJob(j.GiveUp(err))
		return nil
	}
	p.link.fault = p.fault
	err := j.Do(p.link)
	if more, ok := errors.AsType[*driver.GoOn](err); ok {
		p.job.At = time.Now().Add(more.After)
		return more.Conn
	}
	if end, ok := errors.AsType[*driver.Ended](err); ok {
		p.finishJob(end.Result)
		return end.Conn
	}
	if code := exceptionCode(err); (code == ServerDeviceBusy || code == Acknowledge) && j.Tries < p.d.settings.Retry {
		j.Tries++
		p.job.At = time.Now().Add(jitter(busyPause))
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
	if p.job.Tries++; p.fault || p.job.Tries > p.d.settings.Retry || p.job.Ctx.Err() != nil {
		p.finishJob(p.job.GiveUp(err))
		return
	}
	p.job.At = time.Now().Add(jitter(retryBase))
}

func (p *poller) finishJob(err error) {
	p.job.Finish(err)
	p.job = nil
}

// abandonJob tells who waits for p.job that nobody does it any more.
func (p *poller) abandonJob() {
	if p.job != nil {
		p.finishJob(p.job.GiveUp(driver.ErrNotRunning))
	}
}
