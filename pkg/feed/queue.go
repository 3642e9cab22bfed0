package feed

import "context"

// Queue brings work to the one goroutine that owns a feed's state.
type Queue struct {
	jobs  chan Job
	ended chan struct{}
}

// Job is work that waits for its turn.
type Job struct {
	do   func(context.Context)
	done chan struct{}
}

// NewQueue returns a queue that nobody serves yet.
func NewQueue() *Queue { return &Queue{jobs: make(chan Job), ended: make(chan struct{})} }

// Do has the owner call do, with the owner's context, and returns when it is done.
// ctx bounds the wait for the turn alone: what has begun is finished. It returns
// [ErrStopped] if the owner has ended.
func (q *Queue) Do(ctx context.Context, do func(context.Context)) error {
	j := Job{do, make(chan struct{})}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-q.ended:
		return ErrStopped
	case q.jobs <- j:
	}
	<-j.done
	return nil
}

// Jobs is what the owner receives from, to call [Job.Run].
func (q *Queue) Jobs() <-chan Job { return q.jobs }

// End says that the owner has ended.
func (q *Queue) End() { close(q.ended) }

// Run does the job.
func (j Job) Run(ctx context.Context) {
	defer close(j.done)
	j.do(ctx)
}
