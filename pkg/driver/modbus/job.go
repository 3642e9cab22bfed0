package modbus

import (
	"time"
)

// runJob does the job over the link. It returns an error if the connection is lost; then
// the job goes on over the next one, if it may.
func (p *poller) runJob() error {
	p.link.fault = p.fault
	j := p.jobs.Job()
	done, err := p.jobs.Step(p.link)
	switch code := exceptionCode(err); {
	case done:
		return err
	case (code == ServerDeviceBusy || code == Acknowledge) && j.Tries < p.d.settings.Retry:
		j.Tries++
		j.At = time.Now().Add(jitter(busyPause))
		return nil
	case intact(err):
		p.jobs.Finish(err)
		return nil
	}
	p.failJob(err)
	return err
}

// failJob tries the job again later, or gives it up: at once while the device is in
// fault.
func (p *poller) failJob(err error) {
	if !p.jobs.Take(time.Now()) {
		return
	}
	j := p.jobs.Job()
	if j.Tries++; p.fault || j.Tries > p.d.settings.Retry || j.Ctx.Err() != nil {
		p.jobs.GiveUp(err)
		return
	}
	j.At = time.Now().Add(jitter(retryBase))
}
