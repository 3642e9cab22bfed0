package number

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]any{
		"0": int64(0), "17": int64(17), "-17": int64(-17), "+5": int64(5), "-0": int64(0),
		"0x1F": int64(31), "0X1f": int64(31), "0x00": int64(0), "0xFFFFFFFFFFFFFFFF": uint64(math.MaxUint64),
		"9223372036854775807": int64(math.MaxInt64), "-9223372036854775808": int64(math.MinInt64),
		"9223372036854775808": uint64(1 << 63), "18446744073709551615": uint64(math.MaxUint64),
		"18446744073709551616": float64(1 << 64), "1000000000000000000000": 1e21,
		"1.5": 1.5, ".5": 0.5, "5.": 5.0, "1e3": 1000.0, "1E+3": 1000.0, "-1.5e-3": -0.0015, "0.25": 0.25, "0e0": 0.0,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %v (%T), %v; want %v (%T)", text, got, got, err, want, want)
		}
	}
}

// TestRefuses: what two people would read differently is refused, with the readings.
func TestRefuses(t *testing.T) {
	for text, want := range map[string]struct {
		kind  Kind
		words []string
	}{
		"00017":                   {Doubtful, []string{"17 in decimal", "15 in octal"}},
		"0100":                    {Doubtful, []string{"100 in decimal", "64 in octal"}},
		"-010":                    {Doubtful, []string{"-10 in decimal", "-8 in octal"}},
		"0089":                    {Doubtful, []string{"write 89"}},
		"00":                      {Doubtful, []string{"write 0"}},
		"01.5":                    {Doubtful, []string{"write 1.5"}},
		"00.5":                    {Doubtful, []string{"write 0.5"}},
		"0o17":                    {Doubtful, []string{"15 in base 8", "write 15"}},
		"0b11":                    {Doubtful, []string{"3 in base 2", "write 3"}},
		"1_000":                   {Doubtful, []string{"write 1000"}},
		"1_000.5":                 {Doubtful, []string{"write 1000.5"}},
		"1:30":                    {Doubtful, []string{"90", "sixties"}},
		"1234567890123456789012":  {TooLarge, []string{"more digits"}},
		"-9223372036854775809":    {TooLarge, []string{"more digits"}},
		"1e999":                   {TooLarge, []string{"larger"}},
		"":                        {NoNumber, nil},
		"+":                       {NoNumber, nil},
		"--1":                     {NoNumber, nil},
		"0x":                      {NoNumber, nil},
		"-0x10":                   {NoNumber, nil},
		"0x1p3":                   {NoNumber, nil},
		"0x1_0":                   {NoNumber, nil},
		"1e":                      {NoNumber, nil},
		"1e3.5":                   {NoNumber, nil},
		".":                       {NoNumber, nil},
		"inf":                     {NoNumber, nil},
		".inf":                    {NoNumber, nil},
		"NaN":                     {NoNumber, nil},
		" 1":                      {NoNumber, nil},
		"1 ":                      {NoNumber, nil},
		"1,5":                     {NoNumber, nil},
		"١٢":                      {NoNumber, nil},
		"_1":                      {NoNumber, nil},
		strings.Repeat("9", 2000): {TooLarge, nil},
	} {
		v, err := Parse(text)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != want.kind {
			t.Errorf("Parse(%q) = %v, %v; want an error of kind %d", text, v, err, want.kind)
			continue
		}
		for _, w := range want.words {
			if !strings.Contains(e.Reason, w) {
				t.Errorf("Parse(%q): %q does not say %q", text, e.Reason, w)
			}
		}
	}
}

func TestIntUintFloat(t *testing.T) {
	for text, want := range map[string]int64{"10": 10, "1e1": 10, "10.0": 10, "0xA": 10} {
		n, err := Int(text, 0, 100)
		u, err2 := Uint(text, 100)
		f, err3 := Float(text)
		if err := errors.Join(err, err2, err3); err != nil || n != want || u != uint64(want) || f != float64(want) {
			t.Errorf("%s: %d, %d, %v, %v", text, n, u, f, err)
		}
	}
	for _, text := range []string{"-1", "101", "1.5", "010", "9007199254740993.0", "18446744073709551615"} {
		if n, err := Int(text, 0, 100); err == nil {
			t.Errorf("Int(%s) = %d", text, n)
		}
		if n, err := Uint(text, 100); err == nil {
			t.Errorf("Uint(%s) = %d", text, n)
		}
	}
	if u, err := Uint("18446744073709551615", math.MaxUint64); err != nil || u != math.MaxUint64 {
		t.Errorf("got %d, %v", u, err)
	}
	if _, err := Int("010", 0, 100); err == nil || !strings.HasPrefix(err.Error(), "010 has a leading zero") {
		t.Errorf("got %v", err)
	}
}

// TestOld lists what YAML 1.1 reads differently.
func TestOld(t *testing.T) {
	for text, want := range map[string]string{
		"yes": "true", "On": "true", "no": "false", "OFF": "false", "y": "", "N": "", "true": "", "text": "", "": "",
		"0100": "64", "-010": "-8", "0b11": "3", "1_000": "1000", "1:30": "90", "190:20:30": "685230", "0x1_F": "31",
		"1e3": "text", "1.5e3": "text", "1.5e+3": "", "1_0.5": "10.5",
		"17": "", "0": "", "-17": "", "+5": "", "1.5": "", ".5": "", "0x1F": "", "0089": "", "0o17": "",
		"2024-01-31": "a date", "1.2.3.4": "", "9999999999999999999999": "",
	} {
		if got := Old(text); got != want {
			t.Errorf("Old(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "500ms": 500 * time.Millisecond, "1h05m": 65 * time.Minute, "1.5s": 1500 * time.Millisecond, "1d": 24 * time.Hour, "0.5s": time.Second / 2,
	} {
		if got, err := Duration(text); err != nil || got != want {
			t.Errorf("Duration(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "0500ms", "00s", "1", "-1s", "1_0s", "0x1s", "1e3s", "5 s", "300y", "110000d", "1:30"} {
		if d, err := Duration(text); err == nil {
			t.Errorf("Duration(%q) = %v", text, d)
		}
	}
	if _, err := Duration("0500ms"); !strings.Contains(fmt.Sprint(err), "write 500ms") {
		t.Errorf("got %v", err)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "512": 512, "1K": 1 << 10, "512M": 512 << 20, "4G": 4 << 30, "0x200": 512} {
		if got, err := Size(text); err != nil || got != want {
			t.Errorf("Size(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "K", "0512", "0512M", "-1", "+1", "1.5M", "1e3", "1_000", "1T", "9000000000G", "0x2K"} {
		if n, err := Size(text); err == nil {
			t.Errorf("Size(%q) = %v", text, n)
		}
	}
}

// FuzzParse: what is read is read exactly, and has one spelling back.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"0100", "0x1F", "1e3", "1_000", "1:30", "22.5", "9999999999999999999999", "-0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Parse(text)
		_, _ = Duration(text)
		_, _ = Size(text)
		_ = Old(text)
		if err != nil {
			return
		}
		again, err := Parse(fmt.Sprint(v))
		if f, ok := v.(float64); ok {
			again, err = Parse(strconv.FormatFloat(f, 'e', -1, 64))
		}
		if err != nil || again != v {
			t.Errorf("%q is %v (%T), and again %v (%T), %v", text, v, v, again, again, err)
		}
	})
}
