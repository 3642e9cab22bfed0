// Package options makes command-line flags of the options of protocols.
package options

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// value implements [pflag.Value] with the text of an option; its protocol reads it.
type value struct {
	driver.Option
	text string
}

func (v *value) String() string { return v.text }
func (v *value) Type() string   { return v.Option.Type }

func (v *value) Set(s string) error {
	if v.Option.Type == "bool" {
		on, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q: expected true or false", s)
		}
		s = strconv.FormatBool(on)
	}
	v.text = s
	return nil
}

// Add gives a command the options of a protocol as flags. Protocols may share some.
func Add(flags *pflag.FlagSet, list []driver.Option) {
	for _, o := range list {
		if flags.Lookup(o.Name) != nil {
			continue
		}
		f := flags.VarPF(&value{o, o.Default}, o.Name, "", o.Usage)
		if o.Type == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// Given are those options that a person gave.
func Given(flags *pflag.FlagSet, list []driver.Option, argument string) driver.Args {
	a := driver.Args{Argument: argument, Options: map[string]string{}}
	flags.Visit(func(f *pflag.Flag) {
		if slices.ContainsFunc(list, func(o driver.Option) bool { return o.Name == f.Name }) {
			a.Options[f.Name] = f.Value.String()
		}
	})
	return a
}
