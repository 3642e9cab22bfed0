// Package schemas embeds the JSON Schemas (draft 7) of everything that people
// write: gateway.yml, the tables, the connectors and each driver's cfg. Editors
// use the same files through their $id.
//
// Besides the standard's keywords, the schemas carry annotations of ours:
//
//   - x-expect: what a value should look like, in words, for error messages
//   - x-secret: the value may be a ${file:…} or ${env:…} reference and is masked
//     wherever it is shown
//   - x-literal: with x-secret, a literal value is nothing to warn of and is
//     shown
//   - x-path: the value is a path, relative to the file that holds it; with "file", of
//     a file that is read
//   - x-minimum, x-maximum: the least and the largest duration or size; checked like
//     minimum and maximum, which are for numbers alone
//   - x-less-than: the number is less than that of the key named here, beside it
//   - x-default-from: where the value is missing or empty, it is that of this key of
//     gateway.yml
//   - x-unique: no two connectors of a kind have the same value here and at the key that
//     "with" names; "text" says what is wrong then
package schemas

import "embed"

// BaseURL is what the schemas' $id begin with; the rest is the path in [FS].
const BaseURL = "https://raw.githubusercontent.com/edge-gateway/edge-gateway/main/schemas/"

// FS holds the schemas: "gateway.schema.json", "drivers/modbus.schema.json" ….
//
//go:embed *.json connectors/*.json drivers/*.json
var FS embed.FS
