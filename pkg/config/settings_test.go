package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

type modbusSubset struct {
	UnitID  uint8         `json:"unit_id"`
	Polling time.Duration `json:"polling"`
	Retry   *int          `json:"retry"`
	Verify  bool          `json:"verify_write"`
	Endian  string        `json:"endian"`
	Ignored string        `json:"-"`
}

func TestDecodeFillsDefaults(t *testing.T) {
	got, err := Decode[modbusSubset]("drivers/modbus", map[string]any{"unit_id": uint8(7), "polling": "1m30s", "verify_write": false}, "cfg")
	if err != nil {
		t.Fatal(err)
	}
	if got.UnitID != 7 || got.Polling != 90*time.Second || got.Retry == nil || *got.Retry != 3 || got.Verify || got.Endian != "big" {
		t.Errorf("got %+v", got)
	}
}

func TestDecodeTellsEverything(t *testing.T) {
	_, err := Decode[modbusSubset]("drivers/modbus", map[string]any{"unit_id": 300, "colour": "red", "retry": "x"}, "cfg")
	var paths []string
	for _, e := range FieldErrors(err) {
		paths = append(paths, strings.Join(e.Path, "."))
	}
	if got := strings.Join(paths, " "); got != "cfg.polling cfg.colour cfg.retry cfg.unit_id" {
		t.Errorf("errors at %s:\n%v", got, err)
	}
}

func TestDecodeHoldsDurations(t *testing.T) {
	_, err := Decode[modbusSubset]("drivers/modbus", map[string]any{"unit_id": 1, "polling": "10us"}, "cfg")
	if err == nil || err.Error() != `cfg.polling: expected a duration of at least 1ms, got "10us"` {
		t.Errorf("got %v", err)
	}
}

func TestFieldErrorsKeepsOtherErrors(t *testing.T) {
	list := FieldErrors(errors.Join(FieldErrorf("a.b", "is %d", 1), errors.New("plain")))
	if len(list) != 2 || len(list[0].Path) != 2 || list[1].Msg != "plain" {
		t.Errorf("got %v", list)
	}
	if FieldErrors(nil) != nil {
		t.Error("nil has errors")
	}
}
