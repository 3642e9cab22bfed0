package driver

import (
	"fmt"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// Charset returns the encoding of that name in the variables' schema; nil: UTF-8.
func Charset(name string) (encoding.Encoding, error) {
	switch name {
	case "", "utf-8":
		return nil, nil
	case "latin1":
		return charmap.ISO8859_1, nil
	case "gbk":
		return simplifiedchinese.GBK, nil
	}
	return nil, fmt.Errorf("%q: expected utf-8, latin1 or gbk", name)
}
