package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// numberFlag is a flag that takes a number, or a duration. The flag library reads
// numbers as Go writes them, 010 as 8; this reads them as everything else does.
type numberFlag struct{ pflag.Value }

// Set implements [pflag.Value].
func (f numberFlag) Set(text string) error {
	plain, err := readFlag(f.Type(), text)
	if err != nil {
		return err
	}
	return f.Value.Set(plain)
}

// readFlag returns text as the flag library reads it rightly.
func readFlag(flagType, text string) (string, error) {
	bits, _ := strconv.Atoi(strings.TrimLeft(flagType, "uint")) // none: what a machine word holds
	if bits == 0 {
		bits = 64
	}
	switch {
	case flagType == "duration":
		if text == "0" {
			return text, nil
		}
		d, err := number.Duration(text)
		return d.String(), err
	case strings.HasPrefix(flagType, "float"):
		v, err := number.Float(text)
		return strconv.FormatFloat(v, 'g', -1, 64), err
	case strings.HasPrefix(flagType, "uint"):
		v, err := number.Uint(text, math.MaxUint64>>(64-bits))
		return strconv.FormatUint(v, 10), err
	}
	v, err := number.Int(text, math.MinInt64>>(64-bits), math.MaxInt64>>(64-bits))
	return strconv.FormatInt(v, 10), err
}

// readNumbers has the numeric flags of a set read by [numberFlag].
func readNumbers(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		switch t := f.Value.Type(); t {
		case "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "duration":
			if _, done := f.Value.(numberFlag); !done {
				f.Value = numberFlag{f.Value}
			}
		}
	})
}

// reading returns the readings of a number that has several, for an error's text.
func reading(err error) string {
	e, ok := errors.AsType[*number.Error](err)
	if !ok || e.Kind != number.Doubtful {
		return ""
	}
	return fmt.Sprintf(": %s", strings.TrimPrefix(e.Reason, e.Text+" "))
}
