package visible

import "testing"

// TestNoFormula: no text of others is a formula for a spreadsheet, and what is written so is
// read back as it was.
func TestNoFormula(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", "12": "12", "-5": "-5", "+1.5": "+1.5", "-1e3": "-1e3", "°C": "°C", "a=b": "a=b", "'quoted": "'quoted",
		"=1+1": "'=1+1", "+cmd|' /C calc'!A0": "'+cmd|' /C calc'!A0", "-2+3": "'-2+3", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1", "'=1": "''=1", "''=1": "'''=1",
	} {
		got := Cell(text)
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if back := FromCell(got); back != text {
			t.Errorf("%q comes back as %q", text, back)
		}
	}
}
