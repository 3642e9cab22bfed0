package s7

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// intact reports whether the connection can be used on after err: the PLC answered, if
// only with a refusal.
func intact(err error) bool {
	_, refused := errors.AsType[*Refusal](err)
	return err == nil || refused || errors.Is(err, ErrRange)
}

// jobWaiting reports whether a job should go ahead of polls now.
func (p *poller) jobWaiting(now time.Time) bool {
	if p.job != nil {
		return !now.Before(p.job.At)
	}
	return p.d.jobs.Waiting()
}

// takeJob makes p.job the job to be done now, if there is one.
func (p *poller) takeJob(now time.Time) bool {
	if p.job == nil {
		p.job = p.d.jobs.Next()
	}
	return p.job != nil && !now.Before(p.job.At)
}

// runJob does p.job over the session. It returns an error if the connection is lost;
// then the job goes on over the next one, if it may.
func (p *poller) runJob() error {
	j := p.job
	if err := j.Ctx.Err(); err != nil {
		p.finishJob(j.GiveUp(err))
		return nil
	}
	err := j.Do(p.ses)
	if more, ok := errors.AsType[*driver.GoOn](err); ok {
		j.At = time.Now().Add(more.After)
		return more.Conn
	}
	if end, ok := errors.AsType[*driver.Ended](err); ok {
		p.finishJob(end.Result)
		return end.Conn
	}
	if intact(err) {
		p.finishJob(err)
		return nil
	}
	return err // failJob has it
}

// failJob keeps p.job for the next connection, or gives it up: at once while the tags
// are told bad.
func (p *poller) failJob(err error) {
	if p.job == nil {
		return
	}
	if p.job.Tries++; p.fails > p.s.Retry || p.job.Tries > p.s.Retry+1 || p.job.Ctx.Err() != nil {
		p.failJobNow(err)
	}
}

// failJobNow gives p.job up, if the PLC is away.
func (p *poller) failJobNow(err error) {
	if p.fails > p.s.Retry || p.job.Tries > p.s.Retry+1 || p.job.Ctx.Err() != nil {
		p.finishJob(p.job.GiveUp(err))
	}
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

// Read implements driver.Driver. Raw is the bytes as the PLC holds them.
func (d *s7Driver) Read(ctx context.Context, tag string) (driver.Reading, error) {
	p := d.plans.Newest()
	i, ok := p.table.Index(tag)
	if !ok {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, driver.ErrUnknownTag)
	}
	if v := p.table.Variable(i); !v.Access.Readable() {
		return driver.Reading{}, fmt.Errorf("read %s: %w: the variable has access %s", tag, driver.ErrAccess, v.Access)
	}
	pt := p.points[i]
	var r driver.Reading
	err := d.jobs.Submit(driver.NewJob(ctx, func(c *session) error {
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
	}), "the PLC")
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	return r, nil
}
