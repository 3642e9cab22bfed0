package tables

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/pkg/overlay"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// Layered reports whether a directory has files of groups or gateways: it is a fleet's.
func Layered(dir string) (bool, error) {
	for _, t := range []config.Table{config.Groups, config.Gateways} {
		files, err := config.TableFiles(dir, t)
		if err != nil || len(files) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// CheckPushable refuses single tables of a fleet: what a layer says depends on the tables below
// it, and what these may be on the layers.
func (l *Files) CheckPushable() error {
	layered, err := Layered(l.Dir)
	if err == nil && layered && l.one {
		err = fmt.Errorf("%s has the tables of a fleet (groups.yml, gateways.yml), which go together: name the directory, not one of its files", l.Dir)
	}
	return err
}

// Fleet is the directory of a fleet.
type Fleet struct {
	*overlay.Fleet
	Dir string
	src *config.Source
}

// OpenFleet reads the tables and layers of a directory. Errors among the findings are
// those that concern every gateway; without a fleet there is one.
func OpenFleet(dir string) (*Fleet, config.Findings, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, nil, cmp.Or(err, usagef("%s: expected the directory of a fleet", dir))
	}
	snap, src, findings := config.ReadDir(dir)
	if !src.Layered() {
		return nil, nil, usagef("%s has no gateways: what they have different stands in groups.yml and gateways.yml", dir)
	}
	findings = append(findings, config.Missing(dir, src)...)
	if findings.Err() != nil {
		return nil, findings, nil
	}
	f, problems := overlay.New(snap.Document())
	findings = append(findings, lint.Layers(problems, src)...)
	findings.Sort()
	if findings.Err() != nil {
		return nil, findings, nil
	}
	return &Fleet{f, dir, src}, findings, nil
}

// Check checks what was rendered for a gateway.
func (f *Fleet) Check(r *overlay.Rendered) config.Findings {
	return lint.Gateway(r, f.src, protocols.Builtin())
}

// Affected lists the gateways of a fleet that next has run something else than old has, and
// counts all. What is rendered must be without errors.
func Affected(old, next *config.Document) (changed []string, of int) {
	was, _ := overlay.New(old)
	is, _ := overlay.New(next)
	ids := is.Gateways()
	for _, id := range ids {
		if is.Alike(was, id) {
			continue
		}
		sha := old.SHA256() // without layers, all run it
		if old.Layered() {
			sha = ""
			if r, err := was.Render(id); err == nil {
				sha = r.Runs().SHA256()
			}
		}
		if r, err := is.Render(id); err == nil && r.Runs().SHA256() != sha {
			changed = append(changed, id)
		}
	}
	return changed, len(ids)
}

// Origin is a field of what a gateway runs, and where it comes from.
type Origin struct {
	Key   string `json:"key"` // "drivers/press/cfg.polling"
	Value any    `json:"value"`
	Layer string `json:"layer"` // "base", "groups/press", "gateways/lyon-01"
	File  string `json:"file"`
	Line  int    `json:"line"`
}

// Origins lists the fields that key names of what a gateway runs, without literal secrets.
func (f *Fleet) Origins(r *overlay.Rendered, key Key) ([]Origin, error) {
	out := []Origin{}
	at := f.src.Rendered(r.Origin)
	for _, t := range config.Tables() {
		if key.Table != "" && key.Table != t {
			continue
		}
		for _, it := range r.Runs().Items(t) {
			if key.ID != "" && key.ID != it.ID {
				continue
			}
			tree, err := it.Tree()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", config.Key(t, it.ID), err)
			}
			delete(tree, t.IDField())
			leaves(nil, withoutSecrets(t, it.ID, tree), func(path []string, v any) {
				from, pos := r.Origin(t, it.ID, path), at.Pos(t, it.ID, path...)
				layer := "base"
				if from.Table.IsLayer() {
					layer = config.Key(from.Table, from.ID)
				}
				out = append(out, Origin{config.Key(t, it.ID, path...), v, layer, pos.File, pos.Line})
			})
		}
	}
	if len(out) == 0 && key.ID != "" {
		return nil, key.missing(r.Runs().IDs(key.Table))
	}
	return out, nil
}

// leaves calls call with the leaves of a tree, sorted by their paths.
func leaves(path []string, v any, call func(path []string, v any)) {
	m, isMap := v.(map[string]any)
	if !isMap {
		call(path, v)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		leaves(append(slices.Clone(path), k), m[k], call)
	}
}

// rendered begins the files that are written for a gateway.
const rendered = "# Rendered for the gateway "

// WriteInto writes what a gateway runs as the tables of a directory, and returns their
// paths. It replaces what it wrote there before, and nothing else.
func (f *Fleet) WriteInto(ctx context.Context, dir string, r *overlay.Rendered) ([]string, error) {
	doc := r.Runs()
	var texts []text
	for _, t := range config.AllTables() {
		files, err := config.TableFiles(dir, t)
		if err != nil {
			return nil, err
		}
		home := filepath.Join(dir, t.FileName())
		for _, path := range files {
			was, err := config.ReadTable(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if path != home || t.IsLayer() || err == nil && !bytes.HasPrefix(was, []byte(rendered)) {
				return nil, fmt.Errorf("%s was not written by 'edge-cfg render': choose another directory, so that it is neither lost nor mixed with what render writes", path)
			}
		}
		if t.IsLayer() {
			continue
		}
		now := text{path: home, mode: fileMode(doc, t)}
		table, err := tableYAML(doc, t)
		if err != nil {
			return nil, err
		}
		now.text = fmt.Appendf(nil, "%s%s by edge-cfg from the tables of its fleet, where it is to be changed.\n%s", rendered, r.Gateway, table)
		texts = append(texts, now)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return writeTexts(ctx, texts)
}
