package embedded

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"
)

// The database grows with every revision, and a full one refuses all writes until a person
// acts. So the server keeps itself small: beside the compaction of what is older than
// Config.History, it looks at the sizes every lookEvery, and
//
//   - gives up all history when the file has pressure of its quota, or is full;
//   - gives the space that became free back to the disk when more than half of a file of
//     some size is free, or when the file is under pressure;
//   - lifts the alarm of a full database once there is room.
const (
	lookEvery = 5 * time.Second
	pressure  = 0.7
	worth     = 32 << 20 // a smaller file is not worth a pause
	// restEvery is how long a file that stays under pressure, for its contents are that
	// large, is left alone.
	restEvery = 10 * time.Minute
)

// Usage is how full the database is, bytes.
type Usage struct {
	Size, Used, Quota int64
	Full              bool // nothing can be written
}

// Usage returns how full the database is; zero before it serves.
func (s *Server) Usage() Usage {
	if p := s.usage.Load(); p != nil {
		return *p
	}
	return Usage{}
}

// keep keeps the database small until ctx ends.
func (s *Server) keep(ctx context.Context, e *embed.Etcd) {
	tick := time.NewTicker(s.look)
	defer tick.Stop()
	var rested time.Time
	for {
		u := s.measure(e)
		if u.Full || tight(u) || u.Size > worth && u.Used < u.Size/2 {
			if u.Full || time.Since(rested) > restEvery {
				rested = time.Now()
				s.tidy(ctx, e, u)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func tight(u Usage) bool { return float64(u.Size) > pressure*float64(u.Quota) }

func (s *Server) measure(e *embed.Etcd) Usage {
	u := Usage{Size: e.Server.Backend().Size(), Used: e.Server.Backend().SizeInUse(), Quota: s.cfg.Quota, Full: len(e.Server.Alarms()) > 0}
	s.usage.Store(&u)
	return u
}

// tidy makes room, and tells what came of it.
func (s *Server) tidy(ctx context.Context, e *embed.Etcd, was Usage) {
	err := s.makeRoom(ctx, e, was)
	is := s.measure(e)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.cfg.Log.Error("the embedded configuration center could not make room", "size", is.Size, "used", is.Used, "quota", is.Quota, "error", err)
	case tight(is):
		s.cfg.Log.Error("the embedded configuration center is nearly full of what is in force and the releases that are kept; fewer variables, or an etcd of its own, help",
			"size", is.Size, "used", is.Used, "quota", is.Quota)
	default:
		s.cfg.Log.Info("the embedded configuration center made room", "size_before", was.Size, "size", is.Size, "quota", is.Quota)
	}
}

func (s *Server) makeRoom(ctx context.Context, e *embed.Etcd, was Usage) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if was.Full || tight(was) {
		// Watchers that are behind read anew.
		if rev := e.Server.KV().Rev(); rev > e.Server.KV().FirstRev() {
			if _, err := e.Server.Compact(ctx, &pb.CompactionRequest{Revision: rev, Physical: true}); err != nil {
				return fmt.Errorf("compact: %w", err)
			}
		}
	}
	if err := e.Server.Defragment(); err != nil {
		return fmt.Errorf("defragment: %w", err)
	}
	if float64(e.Server.Backend().Size()) > 0.95*float64(s.cfg.Quota) {
		return nil // the alarm would be back at once
	}
	for _, a := range e.Server.Alarms() {
		if _, err := e.Server.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: a.MemberID, Alarm: a.Alarm}); err != nil {
			return fmt.Errorf("lift the alarm: %w", err)
		}
	}
	return nil
}
