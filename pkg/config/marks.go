package config

import "bytes"

// conflictMarks finds what a merge has left for a person to decide: the marks that git
// makes, and 'edge-cfg pull'. One finding stands for a conflict, at its first mark.
func conflictMarks(name string, src []byte) Findings {
	if !bytes.Contains(src, []byte("<<<<<<<")) && !bytes.Contains(src, []byte("=======")) && !bytes.Contains(src, []byte(">>>>>>>")) {
		return nil
	}
	var out Findings
	within := false
	for offset, line := 0, 1; offset < len(src); line++ {
		end := lineEnd(src, offset)
		mark := ConflictMark(src[offset:end])
		offset = end
		if mark == 0 {
			continue
		}
		if mark == '<' || !within {
			out = append(out, Finding{Severity: SeverityError, Rule: "conflict",
				Message: "a conflict that a merge has left: keep one side, or write what both mean, and take the lines <<<<<<<, ======= and >>>>>>> out"}.
				At(Pos{name, line, 1}))
		}
		within = mark != '>'
	}
	return out
}

// ConflictMark returns the sign of a line that marks a conflict, as git does: '<' begins
// it, '=' stands between its sides, '>' ends it ('|' begins what both come from). 0: it
// is none.
func ConflictMark(line []byte) byte {
	line = bytes.TrimRight(line, "\r\n")
	if len(line) < 7 || len(line) > 7 && line[7] != ' ' || bytes.IndexByte([]byte("<=>|"), line[0]) < 0 ||
		bytes.Count(line[:7], line[:1]) != 7 || line[0] == '=' && len(line) > 7 {
		return 0
	}
	return line[0]
}
