package s7

import (
	"context"
	"errors"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// intact reports whether the connection can be used on after err: the PLC answered, if
// only with a refusal.
func intact(err error) bool {
	_, refused := errors.AsType[*Refusal](err)
	return err == nil || refused || errors.Is(err, ErrRange)
}

// runJob does the job over the session. It returns an error if the connection is lost;
// then the job goes on over the next one, if it may.
func (p *poller) runJob() error {
	done, err := p.jobs.Step(p.ses)
	if !done && intact(err) {
		p.jobs.Finish(err)
		return nil
	}
	return err // failJob has it
}

// failJob keeps the job for the next connection, or gives it up: at once while the tags
// are told bad.
func (p *poller) failJob(err error) {
	if j := p.jobs.Job(); j != nil {
		j.Tries++
		p.failJobNow(err)
	}
}

// failJobNow gives the job up, if the PLC is away.
func (p *poller) failJobNow(err error) {
	if j := p.jobs.Job(); p.fails > p.s.Retry || j.Tries > p.s.Retry+1 || j.Ctx.Err() != nil {
		p.jobs.GiveUp(err)
	}
}

// Read implements driver.Driver. Raw is the bytes as the PLC holds them.
func (d *s7Driver) Read(ctx context.Context, tag string) (driver.Reading, error) {
	p := d.plans.Newest()
	return d.jobs.Read(ctx, p.table, tag, "the PLC",
		func(c *session, i int) ([]byte, error) { return c.read(p.points[i].Place) },
		func(i int, data []byte) (frame.Value, frame.Quality) { return p.points[i].decode(data) })
}
