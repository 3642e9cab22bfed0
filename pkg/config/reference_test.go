package config

import (
	"fmt"
	"testing"
	"time"
)

// TestManyDanglingReferences: each names something else that isn't there, and what it
// may have meant is not looked for among all, for all.
func TestManyDanglingReferences(t *testing.T) {
	const n = 10_000
	s := &Snapshot{Endpoints: map[string]Endpoint{}, Drivers: map[string]Driver{}}
	for i := range n {
		s.Endpoints[fmt.Sprintf("endpoint-%d", i)] = Endpoint{}
		s.Drivers[fmt.Sprintf("driver-%d", i)] = Driver{EndpointID: fmt.Sprintf("endpoimt-%d", i)}
	}
	began := time.Now()
	found := referenceFindings(s, nil)
	if took := time.Since(began); len(found) != n || took > 10*time.Second { // minutes, else
		t.Errorf("%d findings took %s", len(found), took)
	}
}
