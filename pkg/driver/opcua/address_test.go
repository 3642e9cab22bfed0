package opcua

import (
	"strings"
	"testing"

	"github.com/gopcua/opcua/ua"
)

func TestParseNode(t *testing.T) {
	for text, want := range map[string]string{ // "": as text; "!…": an error with that in it
		"ns=2;s=Temp":                "",
		"ns=65535;i=4294967295":      "",
		"i=2258":                     "",
		"ns=0;i=85":                  "i=85",
		"s=a=b;c":                    "",
		"nsu=urn:plant:line1;s=Temp": "",
		"nsu=urn:a%3Bb%25;i=1":       "",
		"ns=1;g=09087E75-8E5E-499B-954F-F2A9603DB28A": "ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a",
		"ns=1;b=AQID":                    "",
		"/":                              "i=84",
		"/Objects/2:Line/2:Temp":         "",
		"/0:Objects":                     "/Objects",
		"/2:A&/B/&:C/D&&":                "/2:A&/B/&:C/D&&",
		"/2:a:b":                         "/2:a&:b",
		"":                               "!is not a node id",
		"Temp":                           "!is not a node id",
		"ns=2":                           "!semicolon",
		"ns=02;s=a":                      "!namespace index",
		"ns=65536;s=a":                   "!namespace index",
		"ns=-1;s=a":                      "!namespace index",
		"ns=2;s=":                        "!is not a node id",
		"ns=2;x=1":                       "!unknown kind",
		"ns=2;i=4294967296":              "!number",
		"ns=2;i=0x10":                    "!number",
		"ns=2;i=010":                     "!number",
		"nsu=;s=a":                       "!namespace URI",
		"g=123":                          "!GUID",
		"b=***":                          "!base64",
		"//a":                            "!names between",
		"/a/":                            "!names between",
		"/x:y":                           "!namespace index",
		"/a&":                            "!escape",
		strings.Repeat("/a", 65):         "!at most",
		"s=" + strings.Repeat("a", 4097): "!4096",
	} {
		n, err := ParseNode(text)
		if part, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v, %v; want an error with %q", text, n, err, part)
			}
			continue
		}
		if want == "" {
			want = text
		}
		if err != nil || n.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, n.String(), err, want)
		}
	}
}

func TestNodeID(t *testing.T) {
	namespaces := []string{"http://opcfoundation.org/UA/", "urn:a", "urn:plant:line1"}
	for text, want := range map[string]*ua.NodeID{
		"nsu=urn:plant:line1;s=Temp": ua.NewStringNodeID(2, "Temp"),
		"ns=7;i=300":                 ua.NewNumericNodeID(7, 300),
		"b=AQID":                     ua.NewByteStringNodeID(0, []byte{1, 2, 3}),
		"ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a": ua.NewGUIDNodeID(1, "09087e75-8e5e-499b-954f-f2a9603db28a"),
	} {
		n, err := ParseNode(text)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := n.id(namespaces); err != nil || !id.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", text, id, err, want)
		}
	}
	n, _ := ParseNode("nsu=urn:other;s=a")
	if id, err := n.id(namespaces); err == nil || !strings.Contains(err.Error(), "urn:other") {
		t.Errorf("a namespace that isn't there: %v, %v", id, err)
	}
}

// FuzzParseNode: what is read can be written, and means the same then.
func FuzzParseNode(f *testing.F) {
	for _, s := range []string{"ns=2;s=Temp", "nsu=urn:a%3B;i=1", "/Objects/2:Line/2:T&&&/", "g=09087e75-8e5e-499b-954f-f2a9603db28a", "b=AQ=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNode(s)
		if err != nil {
			return
		}
		again, err := ParseNode(n.String())
		if err != nil || again.String() != n.String() {
			t.Errorf("%q is written %q, which reads as %q, %v", s, n.String(), again.String(), err)
		}
		if n.isPath() {
			n.browsePath()
		} else if _, err := n.id([]string{"", n.uri}); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}
