package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/visible"
)

// secretEnvPrefix begins the only environment variables that tables may name.
const secretEnvPrefix = "EDGE_SECRET_"

// maxSecretBytes bounds a secret's file: keys and tokens are small.
const maxSecretBytes = 64 << 10

var (
	// anyRef matches whatever looks like a reference to a secret.
	anyRef = regexp.MustCompile(`\$\{(file|env):`)
	// goodRef matches a reference that can be resolved.
	goodRef = regexp.MustCompile(`^\$\{(?:file:([A-Za-z0-9_.-]+)|env:(EDGE_SECRET_[A-Za-z0-9_]+))\}$`)
)

// Secrets resolves references to secrets on the gateway, at each use, so that a
// changed secret needs no restart. It reads nothing but files in Dir and
// environment variables whose names begin with EDGE_SECRET_: whoever may push
// tables can't read the gateway's files.
type Secrets struct {
	Dir string // secrets_dir
	// Lookup finds environment variables; nil: os.LookupEnv.
	Lookup func(name string) (string, bool)
}

// Resolve returns the secret that value refers to: ${file:NAME}, a file in Dir
// without its last line end, or ${env:EDGE_SECRET_NAME}. Any other value is
// returned as it is. Errors name the reference, never the secret.
func (s Secrets) Resolve(value string) (string, error) {
	if !anyRef.MatchString(value) {
		return value, nil
	}
	m := goodRef.FindStringSubmatch(value)
	if m == nil {
		return "", fmt.Errorf("secret %s: %s", value, secretForms)
	}
	if name := m[2]; name != "" {
		lookup := s.Lookup
		if lookup == nil {
			lookup = os.LookupEnv
		}
		v, ok := lookup(name)
		if !ok {
			return "", fmt.Errorf("secret %s: the environment has no %s", value, name)
		}
		return v, nil
	}
	return s.readFile(value, m[1])
}

// readFile reads a secret below Dir; os.Root keeps symbolic links from leading
// out of it.
func (s Secrets) readFile(ref, name string) (secret string, err error) {
	if s.Dir == "" {
		return "", fmt.Errorf("secret %s: no secrets_dir is set", ref)
	}
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", ref, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := root.OpenFile(name, regular.Flags, 0)
	if err != nil {
		return "", fmt.Errorf("secret %s in %s: %w", ref, s.Dir, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := regular.Read(f, maxSecretBytes)
	if errors.Is(err, regular.ErrNotRegular) {
		err = regular.ErrNotRegular // what it is instead is nobody's business who may only push tables
	}
	if err != nil {
		return "", fmt.Errorf("secret %s in %s: %w", ref, s.Dir, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

const secretForms = "expected ${file:NAME} (a file in secrets_dir) or ${env:" + secretEnvPrefix + "NAME}"

// checkSecret says what is wrong with a value: a reference where none is
// resolved, a malformed one, or a secret that stands there literally (a
// warning). It returns rule and message, and ok if there is nothing.
func checkSecret(f *Field, value string) (sev Severity, rule, msg string, ok bool) {
	isRef := anyRef.MatchString(value)
	switch {
	case isRef && f.NoReference:
		return SeverityError, "secret-reference", "takes no reference to a secret: a user name is sent in the open; password does", false
	case isRef && !f.Secret:
		return SeverityError, "secret-reference", "secrets are not filled in here; only fields for secrets take ${file:…} and ${env:…}", false
	case isRef && !goodRef.MatchString(value):
		return SeverityError, "secret-reference", secretForms, false
	case f.Secret && !f.LiteralOK && !isRef && value != "":
		return SeverityWarning, "secret-literal", "a secret stands here for everyone to read; " + secretForms, false
	}
	return "", "", "", true
}

// secretFindings checks every text of a tree: a table or, with t empty, the tree
// that the schema of that name describes. pos tells where a path stands.
func secretFindings(schema string, t Table, tree any, pos func(path []string, onKey bool) Pos) Findings {
	var out Findings
	for _, f := range Fields(schema, tree) {
		for _, value := range texts(valueAt(tree, f.Path)) {
			if r := hidden(value); t != "" && r != 0 {
				out = append(out, Finding{Severity: SeverityError, Rule: "hidden-character", Key: keyOf(t, f.Path), Secret: f.Secret,
					Message: strings.Join(f.Path[1:], ".") + ": " + hiddenText(r)}.At(pos(f.Path, false)))
			}
			sev, rule, msg, ok := checkSecret(&f, value)
			if ok {
				continue
			}
			named := f.Key()
			if t != "" {
				named = strings.Join(f.Path[1:], ".")
			}
			out = append(out, Finding{Severity: sev, Rule: rule, Key: keyOf(t, f.Path), Message: named + ": " + msg}.At(pos(f.Path, false)))
		}
	}
	return out
}

// hidden returns the first character of a text that must not be shown, 0 for none. A
// text may have several lines.
func hidden(text string) rune {
	if visible.IsText(text) {
		return 0
	}
	for _, r := range text {
		if visible.Hidden(r) && r != '\n' && r != '\t' {
			return r
		}
	}
	return 0
}

func hiddenText(r rune) string {
	return fmt.Sprintf("holds U+%04X, which can't be seen and may steer what shows it; remove it", r)
}

// texts returns a text, or those of a list and of what is in it.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, texts(e)...)
		}
		return out
	case map[string]any:
		var out []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, texts(v[k])...)
		}
		return out
	}
	return nil
}

// secretAt reports whether the value at path of a tree is a secret, or part of one,
// by the schema of the tree.
func secretAt(root schemaAt, tree any, path []string) bool {
	at := root.expand(tree)
	for i, step := range path {
		value := valueAt(tree, path[:i+1])
		if _, isList := valueAt(tree, path[:i]).([]any); isList {
			at = listItems(at, value)
		} else {
			at = property(at, step, value)
		}
		if isSecret(at) {
			return true
		}
	}
	return false
}

// holdsSecret reports whether schemas describe a mapping with secrets in it, so that
// whatever stands in its place may be one.
func holdsSecret(at []schemaAt, depth int) bool {
	if depth > maxDepth {
		return false
	}
	for _, s := range at {
		props, _ := s.node["properties"].(rawSchema)
		for _, node := range props {
			m, ok := node.(rawSchema)
			if !ok {
				continue
			}
			below := schemaAt{s.file, m}.expand(nil)
			if isSecret(below) || holdsSecret(below, depth+1) {
				return true
			}
		}
		for _, keyword := range [...]string{"additionalProperties", "then", "else"} {
			if m, ok := s.node[keyword].(rawSchema); ok && holdsSecret(schemaAt{s.file, m}.expand(nil), depth+1) {
				return true
			}
		}
	}
	return false
}

// SecretNames returns the names of all fields that hold secrets, in any schema.
func SecretNames() []string { return secretNames() }

var secretNames = sync.OnceValue(func() []string {
	names := make(map[string]bool)
	var walk func(node any)
	walk = func(node any) {
		switch node := node.(type) {
		case rawSchema:
			for name, sub := range node {
				if m, ok := sub.(rawSchema); ok && m["x-secret"] == true {
					names[name] = true
				}
				walk(sub)
			}
		case []any:
			for _, sub := range node {
				walk(sub)
			}
		}
	}
	for _, doc := range rawSchemas() {
		walk(doc)
	}
	return slices.Sorted(maps.Keys(names))
})
