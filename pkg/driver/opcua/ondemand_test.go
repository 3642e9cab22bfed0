package opcua

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// Every path gives a tag that the tables take, and no two give the same.
func TestBrowsedTags(t *testing.T) {
	b, err := browsingOf(driver.Args{Argument: "/Objects/2:Line"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	paths := []string{
		"/2:Temp", "/3:Temp", "/2:Temp_2", "/2:Temp", "/2:A b/2:C:D(1)[2]", "/2:Größe", "/2:Gro\u0308ße", "/2:\u0308", "/2:sys/2:gap", "/2:温度", "/2:", "/", "",
		"/2:" + strings.Repeat("long", 100), "/2:x" + strings.Repeat("long", 100), "/2:A.B", "/2:A/2:B", "/2:😀",
	}
	for range 3 {
		for _, path := range paths {
			tag := b.tag(path)
			if !config.ValidTag(tag) || strings.HasPrefix(tag, "sys.") {
				t.Errorf("%q gives the tag %q", path, tag)
			}
			if other, twice := seen[tag]; twice {
				t.Errorf("%q and %q give the tag %q", path, other, tag)
			}
			seen[tag] = path
		}
	}
	if first, again := tagOf("/2:Line/2:Temp"), b.tag("/2:Line/2:Temp"); first != "Line.Temp" || again != first {
		t.Errorf("%q, %q", first, again)
	}
}

func TestBrowsedTypes(t *testing.T) {
	for of, want := range map[string]config.DataType{
		"Double": config.TypeFloat64, "Double[]": config.TypeFloat64, "Boolean[]": config.TypeBool, "String": config.TypeString, "String[]": config.TypeJSON,
		"ByteString": config.TypeBinary, "ByteString[]": config.TypeJSON, "ExtensionObject": config.TypeJSON, "ExtensionObject[]": config.TypeJSON,
		"UInt64": config.TypeUint64, "DateTime": config.TypeString, "Null": "", "": "",
	} {
		if got := datatypeOf(of); got != string(want) {
			t.Errorf("%s is read as %q, expected %q", of, got, want)
		}
	}
}

// Many nodes of one name take no time.
func TestBrowsedTwins(t *testing.T) {
	b, err := browsingOf(driver.Args{})
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for range 100_000 {
		last = b.tag("/2:Same")
	}
	if want := fmt.Sprintf("Same_%d", 100_000); last != want {
		t.Errorf("the last one is %s, expected %s", last, want)
	}
}
