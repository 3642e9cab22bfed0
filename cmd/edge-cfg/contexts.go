package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// contexts are the connections that a person gave names to.
type contexts struct {
	Current  string                `yaml:"current,omitempty"`
	Contexts map[string]connection `yaml:"contexts,omitempty"`
}

// contextsPath returns the file that keeps them: the user's own.
func contextsPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("where contexts are kept: %w", err)
	}
	return filepath.Join(dir, "edge-gw", "contexts.yml"), nil
}

// loadContexts reads the file; without one there are no contexts.
func loadContexts() (contexts, error) {
	c := contexts{Contexts: map[string]connection{}}
	path, err := contextsPath()
	if err != nil {
		return c, nil //nolint:nilerr // a user without a home has no contexts either
	}
	b, err := regular.ReadFile(path, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("contexts: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		return c, fmt.Errorf("contexts: %s: %w", path, err)
	}
	return c, nil
}

// save writes the file whole, or not at all.
func (c contexts) save() error {
	path, err := contextsPath()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	return tables.WriteFile(path, b, 0o600)
}

// names lists the contexts.
func (c contexts) names() []string { return slices.Sorted(maps.Keys(c.Contexts)) }

// get returns the context of that name.
func (c contexts) get(name string) (connection, error) {
	conn, ok := c.Contexts[name]
	if ok {
		return conn, nil
	}
	hint := "there is none yet; 'edge-cfg context add' makes one"
	if near := config.Nearest(name, c.names()); near != "" {
		hint = "did you mean " + near + "?"
	} else if len(c.Contexts) > 0 {
		hint = "known are " + strings.Join(c.names(), ", ")
	}
	return conn, cli.Usagef("no context %q; %s", name, hint)
}

// savedConnection returns the named context, the current one for "", or an empty
// connection where there is no current one.
func savedConnection(name string) (connection, error) {
	c, err := loadContexts()
	if err != nil {
		return connection{}, err
	}
	if name == "" {
		name = c.Current
	}
	if name == "" {
		return connection{}, nil
	}
	return c.get(name)
}
