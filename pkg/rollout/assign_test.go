package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fleet is 120 gateways: 40 at each of three sites, 3 of them pilots, one in twenty offline.
func fleet() []Member {
	var out []Member
	for i := range 120 {
		m := Member{ID: fmt.Sprintf("gw-%03d", i), Labels: map[string]string{"site": []string{"lyon", "turin", "ulm"}[i%3]}, Online: i%20 != 7}
		if i < 3 {
			m.Labels["ring"] = "pilot"
		}
		out = append(out, m)
	}
	return out
}

func specs(t *testing.T, texts ...string) []Spec {
	t.Helper()
	var out []Spec
	for _, text := range texts {
		s, err := ParseSpec(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func TestAssign(t *testing.T) {
	members := fleet()
	waves, err := Assign("a", specs(t, "ring=pilot", "10%", "site=lyon", "site=ulm:5", "site=ulm:50%", "100%"), members)
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[int]int{}
	sites := map[string]int{}
	for i, w := range waves {
		sizes[w]++
		if pilot := members[i].Labels["ring"] == "pilot"; pilot != (w == 1) {
			t.Errorf("%s is in wave %d", members[i].ID, w)
		}
		switch w {
		case 2:
			sites[members[i].Labels["site"]]++
			if !members[i].Online {
				t.Errorf("%s is offline, and in the wave of a few", members[i].ID)
			}
		case 3:
			if members[i].Labels["site"] != "lyon" {
				t.Errorf("%s is not at lyon", members[i].ID)
			}
		}
	}
	if sizes[1] != 3 || sizes[2] != 12 || sizes[4] != 5 || sizes[5] != 20 || len(sites) != 3 {
		t.Errorf("sizes %v, wave 2 at %v", sizes, sites)
	}
	again, _ := Assign("a", specs(t, "ring=pilot", "10%", "site=lyon", "site=ulm:5", "site=ulm:50%", "100%"), members)
	other, _ := Assign("b", specs(t, "ring=pilot", "10%", "site=lyon", "site=ulm:5", "site=ulm:50%", "100%"), members)
	if !slices.Equal(waves, again) || slices.Equal(waves, other) {
		t.Error("the same seed gives other waves, or another seed the same ones")
	}
	turned := slices.Clone(members)
	slices.Reverse(turned)
	back, _ := Assign("a", specs(t, "ring=pilot", "10%", "site=lyon", "site=ulm:5", "site=ulm:50%", "100%"), turned)
	if slices.Reverse(back); !slices.Equal(waves, back) {
		t.Error("the order of the list matters")
	}
}

func TestAssignRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"ring=pilot":                 "117 of 120 gateways are in no wave (gw-003, gw-004, gw-005, gw-006, gw-007): add a last one",
		"site=rome 100%":             "wave 1, site=rome: it takes none",
		"100% site=lyon":             "wave 2, site=lyon: it takes none",
		"site=lyon site=lyon:1 100%": "wave 2, site=lyon:1: it takes none",
	} {
		_, err := Assign("", specs(t, strings.Fields(text)...), fleet())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if waves, err := Assign("", specs(t, "1", "100%"), fleet()[:2]); err != nil || !slices.Contains(waves, 1) || !slices.Contains(waves, 2) {
		t.Errorf("two gateways: %v, %v", waves, err)
	}
}

func TestParseSpec(t *testing.T) {
	for text, want := range map[string]string{
		"":             "at least one label",
		"0":            "expected a number of gateways",
		"0%":           "expected a number of gateways",
		"101%":         "share from 1% to 100%",
		"010":          "expected a number of gateways",
		"site=lyon:":   "expected a number of gateways",
		":5":           "at least one label",
		"site=lyon:5x": "expected a number of gateways",
		"site=lyon:-1": "expected a number of gateways",
		"a:b:5":        "expected a number of gateways",
		"%":            "expected a number of gateways",
		"1.5%":         "not a label's name",
	} {
		if _, err := ParseSpec(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzParseSpec: whatever is read can be assigned, or is refused with a reason.
func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{"5", "10%", "site=lyon", "site in (lyon,ulm):10%", "!ring:5", ":", "%"} {
		f.Add(s)
	}
	members := fleet()
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text)
		if err != nil {
			return
		}
		if waves, err := Assign("", []Spec{s}, members); err == nil && slices.Contains(waves, 0) {
			t.Errorf("%q leaves somebody without a wave", text)
		}
	})
}
