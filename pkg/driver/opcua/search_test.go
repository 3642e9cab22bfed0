package opcua

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"
)

// TestBrowseOfALiar: a server that promises more for ever, or whose names swell, ends the
// search, and does not fill the memory.
func TestBrowseOfALiar(t *testing.T) {
	n := 0
	ref := func(id, name string) *ua.ReferenceDescription {
		return &ua.ReferenceDescription{
			NodeID: ua.NewExpandedNodeID(ua.NewStringNodeID(1, id), "", 0), NodeClass: ua.NodeClassObject,
			BrowseName: &ua.QualifiedName{NamespaceIndex: 1, Name: name}, DisplayName: ua.NewLocalizedText(name),
		}
	}
	fresh := func() string { n++; return fmt.Sprint("n", n) }
	elsewhere := ref("x", "x")
	elsewhere.NodeID.ServerIndex = 1
	long := strings.Repeat("x", 256<<10)
	for name, x := range map[string]struct {
		refs func() []*ua.ReferenceDescription
		more bool
		says string
		most int // questions
	}{
		"nothing, and more":        {func() []*ua.ReferenceDescription { return nil }, true, "promise more", 200},
		"other servers', and more": {func() []*ua.ReferenceDescription { return []*ua.ReferenceDescription{elsewhere} }, true, "promise more", 200},
		"no references, and more":  {func() []*ua.ReferenceDescription { return make([]*ua.ReferenceDescription, 10) }, true, "promise more", 200},
		"one node, and more":       {func() []*ua.ReferenceDescription { return slicesOf(ref("x", "x"), 10_000) }, true, "to keep them", 200},
		"long names, and more":     {func() []*ua.ReferenceDescription { return []*ua.ReferenceDescription{ref(fresh(), long)} }, true, "to keep them", 200},
		"long names, ever deeper":  {func() []*ua.ReferenceDescription { return slicesOf(ref(fresh(), long), 1) }, false, "to keep them", 200},
		"each other, in a circle": {func() []*ua.ReferenceDescription {
			return []*ua.ReferenceDescription{ref("a", "a"), ref("b", "b"), ref("a", "a")}
		}, false, "", 10},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			s := &Session{caps: limits{browse: 100, read: 100}}
			s.ask = func(_ context.Context, req ua.Request) (ua.Response, error) {
				if asked++; asked > x.most {
					return nil, context.DeadlineExceeded // the test has failed
				}
				answer := func() *ua.BrowseResult {
					r := &ua.BrowseResult{References: x.refs()}
					if x.more {
						r.ContinuationPoint = []byte("more")
					}
					return r
				}
				if r, ok := req.(*ua.BrowseRequest); ok {
					resp := &ua.BrowseResponse{}
					for range r.NodesToBrowse {
						resp.Results = append(resp.Results, answer())
					}
					return resp, nil
				}
				return &ua.BrowseNextResponse{Results: []*ua.BrowseResult{answer()}}, nil
			}
			start, err := ParseNode("ns=1;s=root")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err = s.Browse(ctx, start, BrowseOptions{Depth: 1000, room: 16 << 20, Found: func(Found) error { return nil }})
			if x.says == "" && err != nil || x.says != "" && (err == nil || !strings.Contains(err.Error(), x.says)) || asked > x.most {
				t.Errorf("after %d questions: %v, want %q", asked, err, x.says)
			}
		})
	}
}

func slicesOf(ref *ua.ReferenceDescription, n int) []*ua.ReferenceDescription {
	all := make([]*ua.ReferenceDescription, n)
	for i := range all {
		all[i] = ref
	}
	return all
}
