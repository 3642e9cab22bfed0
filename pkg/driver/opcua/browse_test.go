package opcua_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/driver/opcua"
)

// forest answers browse requests: below "root" are folders, and leaves below each of them.
// It keeps its answers as short as it is asked to.
type forest struct {
	folders, leaves int
	slow            time.Duration // of the first answer
	asked           int
	most            int // references in one answer
}

// below returns up to limit names of what is below a node from the one with index from on.
func (w *forest) below(node string, from, limit int) (names []string, next int) {
	count := 0
	switch {
	case node == "root":
		count = w.folders
	case !strings.Contains(node, "."):
		count = w.leaves
	}
	for next = from; next < count && len(names) < limit; next++ {
		names = append(names, strings.TrimPrefix(node+".", "root.")+fmt.Sprint(next))
	}
	if next == count {
		next = 0
	}
	return names, next
}

func (w *forest) result(node string, from, limit int) *ua.BrowseResult {
	names, next := w.below(node, from, limit)
	res := &ua.BrowseResult{}
	for _, name := range names {
		res.References = append(res.References, &ua.ReferenceDescription{
			ReferenceTypeID: ua.NewNumericNodeID(0, 35), NodeID: ua.NewExpandedNodeID(ua.NewStringNodeID(1, name), "", 0), NodeClass: ua.NodeClassObject,
			BrowseName: &ua.QualifiedName{NamespaceIndex: 1, Name: name}, DisplayName: ua.NewLocalizedText(name), TypeDefinition: ua.NewExpandedNodeID(ua.NewNumericNodeID(0, 61), "", 0),
		})
	}
	if next > 0 {
		res.ContinuationPoint = append(binary.LittleEndian.AppendUint32(nil, uint32(next)), fmt.Sprintf("%d %s", limit, node)...)
	}
	return res
}

func (w *forest) answer(req ua.Request) ua.Response {
	var results []*ua.BrowseResult
	var resp ua.Response
	switch r := req.(type) {
	case *ua.BrowseRequest:
		if w.asked++; w.asked == 1 {
			time.Sleep(w.slow) // it gathers all before it sends the first part
		}
		for _, n := range r.NodesToBrowse {
			results = append(results, w.result(n.NodeID.StringID(), 0, int(r.RequestedMaxReferencesPerNode)))
		}
		resp = &ua.BrowseResponse{Results: results}
	case *ua.BrowseNextRequest:
		for _, point := range r.ContinuationPoints {
			var limit int
			var node string
			if _, err := fmt.Sscan(string(point[4:]), &limit, &node); err != nil {
				return fault(ua.StatusBadContinuationPointInvalid)
			}
			results = append(results, w.result(node, int(binary.LittleEndian.Uint32(point)), limit))
		}
		resp = &ua.BrowseNextResponse{Results: results}
	default:
		return nil
	}
	references := 0
	for _, res := range results {
		references += len(res.References)
	}
	w.most = max(w.most, references)
	return resp
}

// What is below a node comes in parts, which bound an answer however wide a folder is, or
// many of them are; a server that is slow to begin is waited for.
func TestBrowseInParts(t *testing.T) {
	for name, w := range map[string]*forest{
		"one wide folder":   {folders: 2500, slow: 500 * time.Millisecond},
		"many wide folders": {folders: 100, leaves: 150},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.hook = w.answer
			item := endpointOf(t, f)
			item.Opts["timeout"] = "200ms"
			s, err := opcua.Connect(t.Context(), dialer{f}, item, opcua.Options{PKI: opcua.NewPKI(t.TempDir(), "gw"), Name: "gw"})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			start, err := opcua.ParseNode("ns=1;s=root")
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			if err := s.Browse(t.Context(), start, opcua.BrowseOptions{Found: func(n opcua.Found) error { found[n.Node] = true; return nil }}); err != nil {
				t.Fatal(err)
			}
			if want := w.folders * (1 + w.leaves); len(found) != want {
				t.Errorf("%d nodes were found, want %d", len(found), want)
			}
			if limit := 10_000; w.most > limit || w.most < 1000 {
				t.Errorf("an answer had %d references, want %d at most", w.most, limit)
			}
		})
	}
}
