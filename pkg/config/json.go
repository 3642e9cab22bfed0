package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// DecodeEndpoint reads an item of the endpoints table from JSON.
func DecodeEndpoint(id string, b []byte) (Endpoint, error) {
	m, err := decodeItem(Endpoints, id, b)
	if err != nil {
		return Endpoint{}, err
	}
	return decodeEndpoint(m), nil
}

// DecodeDriver reads an item of the drivers table from JSON.
func DecodeDriver(id string, b []byte) (Driver, error) {
	m, err := decodeItem(Drivers, id, b)
	if err != nil {
		return Driver{}, err
	}
	return decodeDriver(m), nil
}

// DecodeSettings reads a group of settings from JSON.
func DecodeSettings(group string, b []byte) (map[string]any, error) {
	return decodeItem(Settings, group, b)
}

// DecodeVariable reads an item of the variables table from JSON. Its tag must be
// the id given.
func DecodeVariable(tag string, b []byte) (Variable, error) {
	v, findings := checkVariable(tag, b)
	if findings != nil {
		return Variable{}, findings
	}
	return v, nil
}

func checkVariable(tag string, b []byte) (Variable, Findings) {
	tree, err := parseJSON(b)
	if err != nil {
		return Variable{}, jsonFinding(keyOf(Variables, []string{tag}), err)
	}
	return variableOfTree(tag, tree)
}

func variableOfTree(tag string, tree any) (Variable, Findings) {
	v, refused := decodeVariable(tree)
	if refused == nil && v.Tag != tag {
		refused = badField(fmt.Sprintf("is %s, but the item's name is %s", v.Tag, tag), "tag")
	}
	if refused == nil {
		return v, nil
	}
	var fs Findings
	_, violations := variableViolations(tree, refused)
	for _, x := range violations {
		fs = append(fs, x.finding(Variables, append([]string{tag}, x.path...)))
	}
	fs.Sort()
	return v, fs
}

// decodeItem reads an item of a table that is a mapping.
func decodeItem(t Table, id string, b []byte) (map[string]any, error) {
	m, findings := checkItem(t, id, b)
	if err := findings.Err(); err != nil {
		return nil, err
	}
	return m, nil
}

// checkItem is decodeItem that tells warnings too.
func checkItem(t Table, id string, b []byte) (map[string]any, Findings) {
	tree, err := parseJSON(b)
	if err != nil {
		return nil, jsonFinding(keyOf(t, []string{id}), err)
	}
	table := map[string]any{id: tree}
	findings := checkTree(t, table)
	m, _ := table[id].(map[string]any)
	return m, findings
}

// checkTree types and checks a table that has no file.
func checkTree(t Table, tree any) Findings {
	var fs Findings
	var types typer
	tree = types.typed(namedSchema(t.Schema()), tree)
	for _, v := range append(types.violations, checkSchema(t.Schema(), tree)...) {
		fs = append(fs, v.finding(t, v.path))
	}
	if t.IsLayer() {
		fs.Sort()
		return fs // which fields are secret, the item below tells: what is rendered is checked
	}
	fs = append(fs, secretFindings(string(t), t, tree, func([]string, bool) Pos { return Pos{} })...)
	fs.Sort()
	return fs
}

func jsonFinding(key string, err error) Findings {
	return Findings{{Severity: SeverityError, Rule: "syntax", Key: key, Message: "not JSON: " + err.Error()}}
}

// parseJSON reads one JSON value as a tree whose numbers are json.Number, for the
// typer.
func parseJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the value at byte %d", dec.InputOffset())
	}
	return tree, nil
}

// ParseDocument reads what [Document.JSON] wrote, as strictly as the YAML
// tables are read. Its error is a [Findings].
func ParseDocument(b []byte) (*Snapshot, error) {
	tree, err := parseJSON(b)
	if err != nil {
		return nil, jsonFinding("", err)
	}
	doc, ok := tree.(map[string]any)
	if !ok {
		return nil, jsonFinding("", fmt.Errorf("expected an object of tables, got %s", describe(tree)))
	}
	r := newReader()
	for key, tree := range doc {
		t := Table(key)
		if t.Index() < 0 {
			r.add(Finding{Severity: SeverityError, Rule: "unknown-key", Key: key, Message: "unknown table " + key})
			continue
		}
		t.rows().readTree(r, tree)
	}
	r.src = nil
	snap, _, findings := r.finish()
	if err := findings.Err(); err != nil {
		return nil, err
	}
	return snap, nil
}

// readTree implements [rows].
func (m mapRows[V]) readTree(r *reader, tree any) {
	fs := checkTree(m.table, tree)
	r.add(fs...)
	if fs.Err() != nil {
		return
	}
	items, _ := tree.(map[string]any)
	for id, item := range items {
		fields, _ := item.(map[string]any)
		(*m.of(&r.snap))[id] = m.fromTree(fields)
	}
}

// readTree implements [rows].
func (variableRows) readTree(r *reader, tree any) {
	items, ok := tree.(map[string]any)
	if !ok && tree != nil {
		r.add(Finding{Severity: SeverityError, Rule: "type", Key: "variables", Message: "expected an object, got " + describe(tree)})
	}
	r.snap.Variables = make([]Variable, 0, len(items))
	for _, tag := range slices.Sorted(maps.Keys(items)) { // sorting variables would cost more
		v, err := variableOfTree(tag, items[tag])
		if err != nil {
			r.add(err...)
			continue
		}
		r.snap.Variables = append(r.snap.Variables, v)
	}
}

// UnmarshalJSON reads an item as [DecodeEndpoint] does.
func (e *Endpoint) UnmarshalJSON(b []byte) (err error) {
	*e, err = DecodeEndpoint("endpoint", b)
	return err
}

// UnmarshalJSON reads an item as [DecodeDriver] does.
func (d *Driver) UnmarshalJSON(b []byte) (err error) {
	*d, err = DecodeDriver("driver", b)
	return err
}

// UnmarshalJSON reads an item as [DecodeVariable] does.
func (v *Variable) UnmarshalJSON(b []byte) error {
	tree, err := parseJSON(b)
	if err != nil {
		return jsonFinding(string(Variables), err)
	}
	var findings Findings
	*v, findings = variableOfTree(itemName(tree, 0), tree)
	return findings.Err()
}
