// Package licences holds what is linked into the commands to licences that the product may
// be given away under, and THIRD_PARTY_LICENSES, which goes into every package, to their
// texts. "make licences" writes that file; the test fails where it would change, and on a
// licence that is unknown or not allowed.
package licences

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write THIRD_PARTY_LICENSES")

const file = "../../THIRD_PARTY_LICENSES"

// allowed are the licences of what may be linked. EPL-2.0 and MPL-2.0 ask for the source of
// what is changed in files under them, and nothing is changed.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "EPL-2.0", "ISC", "MIT", "MPL-2.0"}

// marks are the words by which a licence is known.
var marks = []struct{ name, words string }{
	{"Apache-2.0", `(?i)Apache License,?\s+Version 2\.0`},
	{"EPL-2.0", `(?i)Eclipse Public License\s+-\s+v(ersion)? ?2\.0`},
	{"MPL-2.0", `(?i)Mozilla Public License,? (v\.? ?|Version )2\.0`},
	{"ISC", `(?i)Permission to use, copy, modify, and(/or)?\s+distribute this software for any\s+purpose with or without fee`},
	{"MIT", `(?i)Permission is hereby granted, free of\s+charge, to any person`},
	{"GPL", `(?m)^\W*GNU (AFFERO |LESSER |LIBRARY )?GENERAL PUBLIC LICENSE`},
	{"not free", `(?i)Business Source License|Server Side Public License|Commons Clause|Elastic License|Functional Source License`},
}

var (
	redistribution = regexp.MustCompile(`(?i)Redistribution and use in source and binary forms`)
	endorsement    = regexp.MustCompile(`(?i)endorse\s+or\s+promote`)
	isLicence      = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|copyright)([-._].*)?$`)
	isNotice       = regexp.MustCompile(`(?i)^notice([-._].*)?$`)
	isCode         = regexp.MustCompile(`(?i)\.(go|s|c|h|py|sh|ya?ml)$`)
)

// kinds returns the licences that a text gives or refers to.
func kinds(text string) (out []string) {
	for _, m := range marks {
		if regexp.MustCompile(m.words).MatchString(text) {
			out = append(out, m.name)
		}
	}
	if redistribution.MatchString(text) {
		out = append(out, map[bool]string{true: "BSD-3-Clause", false: "BSD-2-Clause"}[endorsement.MatchString(text)])
	}
	return out
}

// module is one that is linked.
type module struct {
	texts map[string]string // by name
	kinds []string
}

func TestKinds(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "All rights reserved. You may look.": "",
		"Apache License\n   Version 2.0, January 2004":                                                                        "Apache-2.0",
		"Permission is hereby granted, free of charge, to any person obtaining":                                               "MIT",
		"Redistribution and use in source and binary forms, with":                                                             "BSD-2-Clause",
		"Redistribution and use in source and binary forms, with … may not be used to endorse\nor promote":                    "BSD-3-Clause",
		"   GNU GENERAL PUBLIC LICENSE\n  Version 3":                                                                          "GPL",
		"GNU AFFERO GENERAL PUBLIC LICENSE":                                                                                   "GPL",
		"Permission is hereby granted, free of charge, to any person … Commons Clause":                                        "MIT not free",
		"Business Source License 1.1":                                                                                         "not free",
		"Eclipse Public License - v 2.0 … Secondary Licenses: the GNU General Public License, Version 2.0, or any later one.": "EPL-2.0",
	} {
		if got := strings.Join(kinds(text), " "); got != want {
			t.Errorf("%q: %s, expected %s", text, got, want)
		}
	}
	if err := judge("m", []string{"Apache-2.0", "GPL"}); err == nil {
		t.Error("a licence that is not allowed passes beside one that is")
	}
	if err := judge("m", nil); err == nil {
		t.Error("a module without a licence passes")
	}
}

func judge(name string, kinds []string) error {
	if len(kinds) == 0 {
		return fmt.Errorf("%s: no licence that is known; read it, and add its mark here if the product may be given away under it", name)
	}
	for _, k := range kinds {
		if !slices.Contains(allowed, k) {
			return fmt.Errorf("%s: the licence %s is not allowed", name, k)
		}
	}
	return nil
}

// TestLicences: everything that is linked, on every platform, is allowed, and its texts go
// into the packages.
func TestLicences(t *testing.T) {
	modules := linked(t)
	if len(modules) < 50 {
		t.Fatalf("%d modules are linked", len(modules))
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		if err := judge(name, modules[name].kinds); err != nil {
			t.Error(err)
		}
	}
	want := render(modules)
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("THIRD_PARTY_LICENSES is not what is linked (%v): run make licences", err)
	}
}

// linked returns the modules of the commands, of Go's own library as "Go".
func linked(t *testing.T) map[string]*module {
	t.Helper()
	out := map[string]*module{"Go": {texts: map[string]string{}}}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	out["Go"].read(t, strings.TrimSpace(string(root)))
	tools := []string{"./cmd/edge-cfg", "./cmd/edge-bus", "./cmd/edge-ctl"}
	for goos, commands := range map[string][]string{"linux": {"./cmd/..."}, "windows": tools, "darwin": tools} {
		list := exec.Command("go", append([]string{"list", "-deps", "-json=Dir,Module"}, commands...)...)
		list.Dir, list.Env, list.Stderr = "../..", append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0"), os.Stderr
		text, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		for dec := json.NewDecoder(bytes.NewReader(text)); ; {
			var p struct {
				Dir    string
				Module *struct {
					Path, Dir string
					Main      bool
				}
			}
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if p.Module == nil || p.Module.Main {
				continue
			}
			m := out[p.Module.Path]
			if m == nil {
				m = &module{texts: map[string]string{}}
				out[p.Module.Path] = m
			}
			for dir := p.Dir; strings.HasPrefix(dir, p.Module.Dir); dir = filepath.Dir(dir) { // parts may have licences of their own
				m.read(t, dir)
			}
		}
	}
	return out
}

// read takes the licences and notices of a directory.
func (m *module) read(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch licence := isLicence.MatchString(e.Name()); {
		case !licence && !isNotice.MatchString(e.Name()), e.IsDir(), isCode.MatchString(e.Name()):
		case m.texts[path] == "":
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m.texts[path] = strings.ReplaceAll(strings.TrimSpace(string(text)), "\r\n", "\n")
			if licence {
				m.kinds = append(m.kinds, kinds(m.texts[path])...)
				slices.Sort(m.kinds)
				m.kinds = slices.Compact(m.kinds)
			}
		}
	}
}

// render writes what goes into the packages: each module with its licences, then each text
// once, with the modules that it is of.
func render(modules map[string]*module) []byte {
	var out bytes.Buffer
	out.WriteString("What is linked into edge-gateway's commands, and under which licences. Their texts follow.\n\n")
	of := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		m := modules[name]
		fmt.Fprintf(&out, "%s: %s\n", name, strings.Join(m.kinds, ", "))
		for _, text := range m.texts {
			if !slices.Contains(of[text], name) {
				of[text] = append(of[text], name)
			}
		}
	}
	fmt.Fprintf(&out, "\nThe source of each is at the address that its name is, in the version that go.mod names; none is changed.\n")
	texts := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		if c := strings.Compare(strings.Join(of[a], " "), strings.Join(of[b], " ")); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	for _, text := range texts {
		fmt.Fprintf(&out, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(of[text], "\n"), text)
	}
	return out.Bytes()
}
