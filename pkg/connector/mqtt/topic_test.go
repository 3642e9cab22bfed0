package mqtt

import (
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TestNamesLeadNowhereElse: what a log names, however it came about, gives topics of the
// template alone, which a broker takes.
func TestNamesLeadNowhereElse(t *testing.T) {
	r := newRouter("plant/{driver}/{tag}/data")
	for name, want := range map[string]string{
		"line.temp_1":                  "line.temp_1",
		"温度.é":                         "温度.é",
		"x/../../cmd/acme/other":       "x_.._.._cmd_acme_other",
		"#":                            "_",
		"+":                            "_",
		"$SYS":                         "_SYS",
		"a\x00b\nc\x7f":                "a_b_c_",
		"\xff":                         "_",
		strings.Repeat("é", 300):       strings.Repeat("é", 256),
		"a" + strings.Repeat("é", 300): "a" + strings.Repeat("é", 255),
	} {
		s := &frame.TagSet{Driver: name, Tags: []frame.Tag{{Name: "first"}, {Name: name}}}
		if got := r.topic(s, 1); got != "plant/"+want+"/"+want+"/data" {
			t.Errorf("%.40q: %.80q", name, got)
		}
	}
	if got := r.topic(&frame.TagSet{Tags: []frame.Tag{{Name: "sys.start"}}}, 0); got != "plant/sys/sys.start/data" {
		t.Errorf("the gateway's own: %q", got)
	}
}
