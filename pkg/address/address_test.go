package address

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestNeverPrinted prints an address in every way there is.
func TestNeverPrinted(t *testing.T) {
	for _, text := range []string{
		"http://ann:s3cret@proxy:3128", "socks5://s3cret@proxy:1080", "mqtt://:s3cret@broker", "mqtt://ann:s3cret%40x@broker/a@b?x=1", "//ann:s3cret@host",
	} {
		u, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		type holder struct {
			Shown  URL
			hidden URL
			list   []URL
			ptr    *URL
		}
		h := holder{u, u, []URL{u}, &u}
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
			for _, v := range []any{u, &u, h, &h, []URL{u}, map[string]URL{"a": u}, fmt.Errorf("dial: %v", u)} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
		}
		for _, log := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(log).Info("m", "u", u, "h", h, "p", &u)
		}
		j, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		y, err := yaml.Marshal(map[string]any{"u": u, "h": []any{u}})
		if err != nil {
			t.Fatal(err)
		}
		all := out.String() + string(j) + string(y) + u.String()
		if strings.Contains(all, "s3cret") || strings.Contains(all, fmt.Sprintf("%x", "s3cret")) {
			t.Errorf("%s: the password is printed:\n%s", Mask(text), all)
		}
		if real := u.Reveal(); real.User == nil || !u.HasUser() {
			t.Errorf("%s: revealed without user", Mask(text))
		}
	}
}

func TestErrorsHideIt(t *testing.T) {
	for _, text := range []string{
		"http://ann:s3cret@proxy:port", "http://ann:s3cret%zz@proxy", "http://ann:s3\x01cret@proxy", "http://[ann:s3cret@proxy", ":s3cret@", "ann:s3cret@host:99",
	} {
		u, err := Parse(text)
		if err == nil {
			t.Errorf("%q was taken: %s", text, u)
			continue
		}
		if strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "cret") {
			t.Error(err)
		}
	}
}

func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"mqtt://broker:1883":               "mqtt://broker:1883",
		"mqtt://ann:pw@broker:1883/x?y=z":  "mqtt://…@broker:1883/x?y=z",
		"http://token@[fd00::1]:8080":      "http://…@[fd00::1]:8080",
		"":                                 "",
		"mqtts://broker/path%20with/blank": "mqtts://broker/path%20with/blank",
	} {
		u, err := Parse(text)
		if err != nil || u.String() != want || fmt.Sprint(u) != want {
			t.Errorf("%q: %s, %v", text, u, err)
		}
	}
	if got := fmt.Sprint(URL{}); got != "" || !(URL{}).None() {
		t.Errorf("none: %q", got)
	}
}
