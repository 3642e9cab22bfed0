package s7

import (
	"context"
	"errors"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// browseAbility lists the blocks of a PLC.
func browseAbility() *driver.Ability {
	return &driver.Ability{
		Help: `Of a Siemens S7 PLC browse lists the blocks of the program with their sizes. NODE is a
kind of blocks (DB), one block (DB7), or all, with the blocks of the CPU itself. An
S7-1200 or S7-1500 lists none: take a DB's source from TIA Portal for 'edge-cfg import'.`,
		Example: `  edge-ctl browse s7://192.168.10.20 DB`,
		Options: placeOptions(),
		Columns: []driver.Column{{Name: "BLOCK"}, {Name: "BYTES", Right: true}, {Name: "LOADED", Right: true}, {Name: "LANGUAGE"}, {Name: "NAME"}, {Name: "CHANGED"}, {Name: "REMARK", Keep: true}},
		Check: func(a driver.Args) error {
			if _, err := selectBlocks(a.Argument); err != nil {
				return driver.Argsf("%w", err)
			}
			_, err := placesToTry(driver.Target{}, a)
			return err
		},
		Run: browse,
	}
}

// browse lists blocks over a connection of its own.
func browse(ctx context.Context, to driver.Target, a driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	places, err := placesToTry(to, a)
	if err != nil {
		return r, err
	}
	var ses *session
	for i := range places {
		refused := error(nil)
		if ses, refused = probePlace(ctx, to, &places[i]); refused == nil {
			break
		}
		if !noCPU(refused) {
			return r, refused
		}
	}
	if ses == nil {
		r.Failure = noCPUFound
		return r, nil
	}
	defer func() { ses.close(err) }()
	return listBlocks(ctx, func(do func(*session) error) error { return do(ses) }, a, emit)
}

// onSession does something over a session: at once, or between polls.
type onSession func(do func(*session) error) error

// listBlocks lists the blocks that a asks for. It holds up polls for one question at a
// time.
func listBlocks(ctx context.Context, on onSession, a driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	s, err := selectBlocks(a.Argument)
	if err != nil {
		return r, driver.Argsf("%w", err)
	}
	if s.number >= 0 {
		return r, listBlock(on, BlockName{s.kinds[0], uint16(s.number)}, emit)
	}
	var counts map[blockKind]int
	err = on(func(c *session) (err error) { counts, err = c.countBlocks(); return err })
	if refused, ok := errors.AsType[*Refusal](err); ok {
		text, _ := refused.words()
		r.Failure = fmt.Sprintf("the PLC lists no blocks (%s, %s); an S7-1200 or S7-1500 never does: export a DB's source in TIA Portal, and edge-cfg import reads it", refused.number(), text)
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("ask how many blocks there are: %w", err)
	}
	for _, k := range s.kinds {
		if counts[k] == 0 {
			continue
		}
		var numbers []uint16
		if err := on(func(c *session) (err error) { numbers, err = c.blockNumbers(k, counts[k]); return err }); err != nil {
			return r, fmt.Errorf("ask for the list of %ss: %w", k, err)
		}
		for i, n := range numbers {
			if err := ctx.Err(); err != nil {
				return r, err
			}
			if err := emit(driver.Event{Progress: fmt.Sprintf("%s%d, %d of %d", k, n, i+1, len(numbers))}); err != nil {
				return r, err
			}
			if err := listBlock(on, BlockName{k, n}, emit); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// listBlock tells of one block. One that the PLC does not tell of is listed with its
// reason.
func listBlock(on onSession, n BlockName, emit func(driver.Event) error) error {
	var b block
	err := on(func(c *session) (err error) { b, err = c.blockInfo(n); return err })
	refused, ok := errors.AsType[*Refusal](err)
	if err != nil && !ok {
		return fmt.Errorf("ask for %s: %w", n, err)
	}
	item, err := blockItem(n, b, refused)
	if err != nil {
		return err
	}
	return emit(driver.Event{Item: &item})
}

// blockItem describes a block; refused says why that is not possible.
func blockItem(n BlockName, b block, refused *Refusal) (item driver.Item, err error) {
	remark, changed := "", ""
	if refused != nil {
		remark, _ = refused.words()
		remark = fmt.Sprintf("%s (%s)", remark, refused.number())
		item.Cells = []string{n.String(), "", "", "", "", "", remark}
	} else {
		if !b.changed.IsZero() {
			changed = b.changed.Format(formatTime)
		}
		item.Cells = []string{n.String(), fmt.Sprint(b.size), fmt.Sprint(b.load), b.language, b.name, changed, remark}
	}
	item.Document, err = driver.Document(struct {
		Block    string `json:"block"`
		Bytes    *int   `json:"bytes"` // null: the PLC does not tell
		Load     int    `json:"load_bytes,omitempty"`
		Language string `json:"language,omitempty"`
		Name     string `json:"name,omitempty"`
		Family   string `json:"family,omitempty"`
		Author   string `json:"author,omitempty"`
		Version  string `json:"version,omitempty"`
		Changed  string `json:"changed,omitempty"` // of the PLC's clock, which has no zone
		Refused  string `json:"refused,omitempty"`
	}{n.String(), sizeUnless(refused, b.size), b.load, b.language, b.name, b.family, b.author, b.version, changed, remark})
	return item, err
}

func sizeUnless(refused *Refusal, size int) *int {
	if refused != nil {
		return nil
	}
	return &size
}
