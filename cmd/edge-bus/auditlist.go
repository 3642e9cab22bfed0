package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/audit"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// deed is an audit record as a person wants it: who did what, when, and with what result.
type deed struct {
	N       uint64    `json:"n"`
	Time    time.Time `json:"time"`
	User    string    `json:"user"`
	UID     int64     `json:"uid"`
	Method  string    `json:"method"`
	Request string    `json:"request"`
	Code    string    `json:"code"`
	Error   string    `json:"error"`
}

// maxDeeds bounds what is held of a log: the newest are kept.
const maxDeeds = 100_000

// deeds collects what the records of a log tell.
type deeds struct {
	list []deed
	left int // out, because they are older than those in list
}

func (d *deeds) take(_ audit.Mark, text []byte) error {
	var r deed
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("an audit record: %w", err)
	}
	if len(d.list) == maxDeeds {
		d.list = append(d.list[:0], d.list[maxDeeds/2:]...)
		d.left += maxDeeds / 2
	}
	d.list = append(d.list, r)
	return nil
}

// show prints the records, the oldest first.
func (d *deeds) show(cmd *cobra.Command) error {
	if d.left > 0 {
		cmd.PrintErrf("%d older ones are left out\n", d.left)
	}
	return cli.NewOutput(cmd).Print(append([]deed{}, d.list...), func(t *cli.Table) { deedTable(t, d.list) })
}

func deedTable(t *cli.Table, list []deed) {
	t.Header("TIME", "USER", "RESULT", "METHOD", "REQUEST", "ERROR")
	t.Keep("REQUEST", "ERROR")
	for _, r := range list {
		color := cli.Green
		if r.Code != "OK" {
			color = cli.Red
		}
		t.Cells(cli.Cell{Text: moment.Format(r.Time)}, cli.Cell{Text: r.User}, cli.Cell{Text: r.Code, Color: color},
			cli.Cell{Text: r.Method}, cli.Cell{Text: r.Request}, cli.Cell{Text: r.Error})
	}
}
