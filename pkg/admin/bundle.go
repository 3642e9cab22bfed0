package admin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"runtime/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// bundle writes the files of a support archive. What cannot be had is noted in
// the archive itself: a fault in one part is a reason to want the others.
type bundle struct {
	tar    *tar.Writer
	now    time.Time
	errors bytes.Buffer
}

// writeBundle writes a gzipped tar archive with the state of every part.
func (b Backend) writeBundle(ctx context.Context, w io.Writer, g prometheus.Gatherer) error {
	zip := gzip.NewWriter(w)
	x := &bundle{tar: tar.NewWriter(zip), now: time.Now()}
	if err := x.write(ctx, b, g); err != nil {
		return fmt.Errorf("support archive: %w", err)
	}
	if err := x.tar.Close(); err != nil {
		return fmt.Errorf("support archive: %w", err)
	}
	return zip.Close()
}

func (x *bundle) write(ctx context.Context, b Backend, g prometheus.Gatherer) error {
	if err := x.state(ctx, b); err != nil {
		return err
	}
	profiles := []struct {
		kind, file string
		debug      int // 1: text for people, 0: for pprof
	}{{"goroutine", "goroutines.txt", 1}, {"heap", "heap.pprof", 0}}
	for _, p := range profiles {
		var buf bytes.Buffer
		x.note(p.kind, pprof.Lookup(p.kind).WriteTo(&buf, p.debug))
		if err := x.file(p.file, buf.Bytes()); err != nil {
			return err
		}
	}
	if g != nil {
		if err := x.file("metrics.txt", x.metrics(g)); err != nil {
			return err
		}
	}
	if b.Files != nil {
		files, err := b.Files(ctx)
		x.note("files", err)
		for _, f := range files {
			if err := x.file(path.Join("files", path.Clean("/"+f.Name)), f.Data); err != nil {
				return err
			}
		}
	}
	if x.errors.Len() > 0 {
		return x.file("errors.txt", x.errors.Bytes())
	}
	return nil
}

// state writes what each part says of itself, as the commands print it.
func (x *bundle) state(ctx context.Context, b Backend) error {
	parts := []struct {
		name string
		get  func() (any, error)
		has  bool
	}{
		{"version.json", func() (any, error) { return LocalVersion(), nil }, true},
		{"status.json", func() (any, error) { return b.summary(ctx) }, true},
		{"endpoints.json", func() (any, error) {
			r, err := b.Endpoints.ListEndpoints(ctx, nil)
			return r.GetEndpoints(), err
		}, b.Endpoints != nil},
		{"drivers.json", func() (any, error) {
			r, err := b.Drivers.ListDrivers(ctx, nil)
			return r.GetDrivers(), err
		}, b.Drivers != nil},
		{"tags.json", func() (any, error) { return allTags(ctx, b.Tags) }, b.Tags != nil},
		{"bus.json", func() (any, error) { return b.Bus.Stats(ctx) }, b.Bus != nil},
		{"connectors.json", func() (any, error) {
			r, err := b.Connectors.ListConnectors(ctx, nil)
			return r.GetConnectors(), err
		}, b.Connectors != nil},
		{"config.json", func() (any, error) {
			r, err := b.Config.GetConfigStatus(ctx, nil)
			return r.GetStatus(), err
		}, b.Config != nil},
		{"config-history.json", func() (any, error) {
			r, err := b.Config.ListConfigHistory(ctx, nil)
			return r.GetApplies(), err
		}, b.Config != nil},
	}
	for _, p := range parts {
		if !p.has {
			continue
		}
		v, err := p.get()
		if err != nil {
			x.note(p.name, err)
			continue
		}
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			x.note(p.name, err)
			continue
		}
		if err := x.file(p.name, append(text, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func allTags(ctx context.Context, b TagBackend) ([]*pb.Tag, error) {
	tags, err := b.Tags(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]*pb.Tag, tags.Len())
	for i := range list {
		list[i] = tags.Message(i)
	}
	return list, nil
}

func (x *bundle) metrics(g prometheus.Gatherer) []byte {
	families, err := g.Gather()
	x.note("metrics", err)
	var buf bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&buf, f); err != nil {
			x.note("metrics", err)
		}
	}
	return buf.Bytes()
}

func (x *bundle) note(what string, err error) {
	if err != nil {
		fmt.Fprintf(&x.errors, "%s: %v\n", what, err)
	}
}

func (x *bundle) file(name string, data []byte) error {
	h := &tar.Header{Name: path.Join("edge-gateway", name), Mode: 0o600, Size: int64(len(data)), ModTime: x.now}
	if err := x.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err := x.tar.Write(data)
	return err
}
