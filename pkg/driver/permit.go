package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// Writable returns the index of a tag that may be written. enabled is the driver's
// cfg.enable_write.
func Writable(table *point.Table, id, tag string, enabled bool) (int, error) {
	if !enabled {
		return 0, fmt.Errorf("%w: driver %s has writing switched off (cfg.enable_write)", ErrAccess, id)
	}
	i, ok := table.Index(tag)
	if !ok {
		return 0, ErrUnknownTag
	}
	if v := table.Variable(i); !v.Access.Writable() {
		return 0, fmt.Errorf("%w: the variable has access %s", ErrAccess, v.Access)
	}
	return i, nil
}

// Readable returns the index of a tag that may be read on demand.
func Readable(table *point.Table, tag string) (int, error) {
	i, ok := table.Index(tag)
	if !ok {
		return 0, ErrUnknownTag
	}
	if v := table.Variable(i); !v.Access.Readable() {
		return 0, fmt.Errorf("%w: the variable has access %s", ErrAccess, v.Access)
	}
	return i, nil
}

// Read is [Driver.Read] of a driver that reads between polls. read returns the bytes of
// point i from the device, decode what they mean.
func (q *Jobs[C]) Read(ctx context.Context, table *point.Table, tag, device string,
	read func(c C, i int) ([]byte, error), decode func(i int, data []byte) (frame.Value, frame.Quality)) (Reading, error) {
	i, err := Readable(table, tag)
	if err != nil {
		return Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	var r Reading
	err = q.Submit(NewJob(ctx, func(c C) error {
		data, err := read(c, i)
		if err != nil {
			return err
		}
		raw, quality := decode(i, data)
		r = Reading{Raw: data, TS: time.Now().UnixNano()}
		if r.Value, r.Quality = table.Scale(i, raw); quality > r.Quality {
			r.Quality = quality
		}
		return nil
	}), device)
	if err != nil {
		return Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	return r, nil
}
