package tables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Key names a table, an item, or a field of one. The zero Key is all tables.
type Key struct {
	Table config.Table
	ID    string   // "": the whole table
	Field []string // nil: the whole item
}

// ParseKey reads "variables/TAG", "drivers/ID/cfg.polling", and for settings also
// "bus" and "bus.wal_flush_ms".
func ParseKey(text string) (Key, error) {
	parts := strings.SplitN(text, "/", 3)
	t := config.Table(parts[0])
	if err := CheckTable(t); err != nil {
		if len(parts) > 1 {
			return Key{}, err
		}
		return settingKey(text)
	}
	k := Key{Table: t}
	if len(parts) > 1 {
		k.ID = parts[1]
	}
	if len(parts) > 2 && parts[2] != "" {
		k.Field = strings.Split(parts[2], ".")
	}
	return k, nil
}

// settingKey reads "bus.wal_flush_ms" and "connectors.mqtt.max_frames": a group of
// settings is "bus", or a connector.
func settingKey(text string) (Key, error) {
	steps := strings.Split(text, ".")
	n := 1
	if steps[0] == "connectors" {
		n = 2
	}
	known := steps[0] == "bus" || steps[0] == "connectors" && len(steps) > 1
	if !known {
		return Key{}, usagef("key %q: expected a setting (bus.wal_flush_ms, connectors.NAME.max_frames) or TABLE/ID (variables/TAG)", text)
	}
	k := Key{Table: config.Settings, ID: strings.Join(steps[:n], ".")}
	if len(steps) > n {
		k.Field = steps[n:]
	}
	return k, nil
}

// String returns the key as it is written.
func (k Key) String() string { return config.Key(k.Table, k.ID, k.Field...) }

// missing is the error for an item that isn't there, with the one that may be
// meant.
func (k Key) missing(ids []string) error {
	text := fmt.Sprintf("there is no %s in %s", k.ID, k.Table)
	if near := config.Nearest(k.ID, ids); near != "" {
		text += "; did you mean " + near + "?"
	}
	return fmt.Errorf("%s", text)
}

// CheckTable refuses what is no table.
func CheckTable(t config.Table) error {
	if t.Index() < 0 {
		return usagef("no table %q; expected endpoints, drivers, variables, settings, groups or gateways", t)
	}
	return nil
}

// checkField refuses a field that the item's schema doesn't know.
func (k Key) checkField(item map[string]any) error {
	known := k.knownFields(item)
	name := fieldName(k.Field)
	if len(known) == 0 || slices.Contains(known, name) {
		return nil
	}
	text := fmt.Sprintf("%s: there is no field %s", config.Key(k.Table, k.ID), name)
	if near := config.Nearest(name, known); near != "" {
		text += "; did you mean " + near + "?"
	}
	return usagef("%s", text)
}

// knownFields lists the fields of an item's schema, dotted.
func (k Key) knownFields(item map[string]any) []string {
	if k.Table == config.Variables {
		return nil // decoding tells what is wrong
	}
	var out []string
	for _, f := range k.fields(item) {
		out = append(out, fieldName(f.Path))
	}
	return out
}

// fields describes the fields of an item.
func (k Key) fields(item map[string]any) []config.Field {
	return config.ItemFields(k.Table, k.ID, item)
}
