package wal

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// ErrConsumerExists says that the log knows a consumer of that name already.
var ErrConsumerExists = errors.New("there is such a consumer already")

// MoveConsumer gives a consumer another name: its place, what is finished beyond it and
// its records, in one synced step. Nobody may use the consumer meanwhile, or afterwards
// under its old name.
func (l *Log) MoveConsumer(from, to string) error {
	if err := checkConsumerName(to); err != nil {
		return err
	}
	if err := l.beginWrite(); err != nil {
		return err
	}
	defer l.end()
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	c := l.st.consumers[from]
	if c == nil {
		return fmt.Errorf("consumer %s: %w", from, ErrNoConsumer)
	}
	if l.st.consumers[to] != nil {
		return fmt.Errorf("consumer %s: %w", to, ErrConsumerExists)
	}
	records, err := c.Records()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := l.state.NewBatch()
	defer func() { _ = b.Close() }() // nothing to lose: a committed batch is empty, another one was given up
	errs := []error{
		b.DeleteRange([]byte("c/"+from+"\x00"), []byte("c/"+from+"\x01"), nil),
		b.Set(positionKey(to), c.appendPosition(nil), nil),
	}
	for _, r := range records {
		errs = append(errs, b.Set(recordKey(to, r.Key), appendRecord(nil, r), nil))
	}
	if err := errors.Join(append(errs, b.Commit(pebble.Sync))...); err != nil {
		return fmt.Errorf("move consumer %s to %s: %w", from, to, err)
	}
	moved := &Bookmark{l: l, name: to, acked: c.acked, finished: c.finished, pins: c.pins}
	c.removed = true
	delete(l.st.consumers, from)
	l.st.consumers[to] = moved
	return nil
}
