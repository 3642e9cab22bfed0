package bootstrap

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed starter
var starter embed.FS

// StarterFiles returns the names of the files that [Init] writes, relative to
// its directory, and their contents.
func StarterFiles() (map[string][]byte, error) {
	files := make(map[string][]byte)
	err := fs.WalkDir(starter, "starter", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := starter.ReadFile(name)
		files[strings.TrimPrefix(name, "starter/")] = b
		return err
	})
	return files, err
}

// Starter is what differs between one new gateway.yml and another.
type Starter struct {
	GatewayID string // "": the template's
	DataDir   string // "": data, beside gateway.yml
}

// Init writes a commented gateway.yml and starter tables into dir, which it
// makes if need be. Nothing is ever overwritten: if one of the files is there,
// none is written.
func Init(dir string, own Starter) error {
	files, err := StarterFiles()
	if err != nil {
		return fmt.Errorf("init %s: %w", dir, err)
	}
	if files[starterGateway], err = own.fill(files[starterGateway]); err != nil {
		return fmt.Errorf("init %s: %w", dir, err)
	}
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("init %s: %s exists; nothing was written", dir, filepath.Join(dir, name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("init %s: %w", dir, err)
		}
	}
	for name, content := range files {
		if err := writeNew(filepath.Join(dir, name), content); err != nil {
			return fmt.Errorf("init %s: %w", dir, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "secrets"), 0o700); err != nil {
		return fmt.Errorf("init %s: %w", dir, err)
	}
	return nil
}

const starterGateway = "gateway.yml"

// fill puts s's settings in the place of the template's.
func (s Starter) fill(template []byte) ([]byte, error) {
	settings := map[string]string{"gateway_id": s.GatewayID, "data_dir": s.DataDir}
	for key, value := range settings {
		if value == "" {
			delete(settings, key)
		}
	}
	given := maps.Clone(settings)
	if s.GatewayID == "" {
		given["gateway_id"] = "any"
	}
	if _, err := Load("", given, nil); err != nil {
		return nil, err
	}
	for key, value := range settings {
		text, err := yaml.Marshal(value)
		if err != nil {
			return nil, err
		}
		line := regexp.MustCompile(`(?m)^` + key + `: \S+`)
		template = line.ReplaceAllLiteral(template, []byte(key+": "+strings.TrimSpace(string(text))))
	}
	return template, nil
}

// writeNew writes a file that must not exist.
func writeNew(path string, content []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(content)
	return err
}
