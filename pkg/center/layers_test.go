package center

import (
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// TestLayersAreNeverPushed: no gateway could read them, and an older one would run the base.
func TestLayersAreNeverPushed(t *testing.T) {
	for _, table := range []config.Table{config.Groups, config.Gateways} {
		doc, err := config.NewDocument(map[config.Table][]config.Item{table: {{ID: "a", JSON: []byte(`{}`)}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, force := range []bool{false, true} {
			_, err = new(Store).Push(t.Context(), Version{}, doc, PushOptions{Force: force})
			if err == nil || !strings.Contains(err.Error(), "push what is rendered") {
				t.Errorf("%s, force %v: %v", table, force, err)
			}
		}
	}
}
