package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// parallel bounds how many drivers or endpoints are worked on at a time.
const parallel = 32

// every runs do for all ids, some at a time, and returns all errors.
func every(ctx context.Context, ids []string, do func(context.Context, string) error) error {
	var g errgroup.Group
	g.SetLimit(parallel)
	errs := make([]error, len(ids))
	for i, id := range ids {
		g.Go(func() error {
			errs[i] = do(ctx, id)
			return nil
		})
	}
	_ = g.Wait() // the functions above return nil
	return join(errs)
}

// each is every for what will be undone if it fails: after the first error, or
// when ctx has ended, nothing more is begun. What has begun is waited for.
func each(ctx context.Context, ids []string, do func(context.Context, string) error) error {
	var failed atomic.Bool
	return every(ctx, ids, func(ctx context.Context, id string) error {
		if failed.Load() {
			return nil
		}
		err := ctx.Err()
		if err == nil {
			err = do(ctx, id)
		}
		if err != nil {
			failed.Store(true)
		}
		return err
	})
}

// maxErrors bounds the errors in one message: it travels to the configuration
// center, and people read the first ones.
const maxErrors = 20

// join is [errors.Join] of the first errors, with the number of the others. Its
// text is one line: it goes into tables and logs.
func join(errs []error) error {
	errs = slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	if more := len(errs) - maxErrors; more > 0 {
		errs = append(errs[:maxErrors], fmt.Errorf("and %d more errors", more))
	}
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return joined(errs)
}

// joined is errors side by side.
type joined []error

// Error lists them.
func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns them.
func (j joined) Unwrap() []error { return j }

// pick returns the ids that ok is true for.
func pick(ids []string, ok func(string) bool) []string {
	var out []string
	for _, id := range ids {
		if ok(id) {
			out = append(out, id)
		}
	}
	return out
}
