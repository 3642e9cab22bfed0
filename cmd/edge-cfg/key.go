package main

import (
	"fmt"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// itemKey names a table, an item, or a field of one: what get, set and show take.
type itemKey struct {
	table config.Table
	id    string   // "": the whole table
	field []string // nil: the whole item
}

// parseKey reads "variables/TAG", "drivers/ID/cfg.polling", and for settings also
// "bus" and "bus.wal_flush_ms".
func parseKey(text string) (itemKey, error) {
	parts := strings.SplitN(text, "/", 3)
	t := config.Table(parts[0])
	if checkTable(t) != nil {
		if len(parts) > 1 {
			return itemKey{}, checkTable(t)
		}
		return settingKey(text)
	}
	k := itemKey{table: t}
	if len(parts) > 1 {
		k.id = parts[1]
	}
	if len(parts) > 2 && parts[2] != "" {
		k.field = strings.Split(parts[2], ".")
	}
	return k, nil
}

// settingKey reads "bus.wal_flush_ms" and "connectors.mqtt.max_frames": a group of
// settings is "bus", or a connector.
func settingKey(text string) (itemKey, error) {
	steps := strings.Split(text, ".")
	n := 1
	if steps[0] == "connectors" {
		n = 2
	}
	known := steps[0] == "bus" || steps[0] == "connectors" && len(steps) > 1
	if !known {
		return itemKey{}, cli.Usagef("key %q: expected a setting (bus.wal_flush_ms, connectors.NAME.max_frames) or TABLE/ID (variables/TAG)", text)
	}
	k := itemKey{table: config.Settings, id: strings.Join(steps[:n], ".")}
	if len(steps) > n {
		k.field = steps[n:]
	}
	return k, nil
}

// String returns the key as it is written.
func (k itemKey) String() string { return config.Key(k.table, k.id, k.field...) }

// missing is the error for an item that isn't there, with the one that may be
// meant.
func (k itemKey) missing(ids []string) error {
	text := fmt.Sprintf("there is no %s in %s", k.id, k.table)
	if near := config.Nearest(k.id, ids); near != "" {
		text += "; did you mean " + near + "?"
	}
	return fmt.Errorf("%s", text)
}
