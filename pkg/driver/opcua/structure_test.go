package opcua

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// sent is a structure as a server sends it.
func sent(encoding uint32, body ...byte) *ua.ExtensionObject {
	return &ua.ExtensionObject{
		EncodingMask: ua.ExtensionObjectBinary, TypeID: &ua.ExpandedNodeID{NodeID: ua.NewNumericNodeID(2, encoding)}, Value: &structure{body: body},
	}
}

// The bodies of structures survive the library, wherever they stand, and what stands
// beside them does.
func TestKeepBodies(t *testing.T) {
	values := []*ua.DataValue{
		{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(sent(5001, 1, 2, 3))},
		{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(int32(7))},
		{EncodingMask: ua.DataValueValue, Value: ua.MustVariant([]*ua.ExtensionObject{sent(5002, 4), sent(5003), sent(5004, 5, 6)})},
		{EncodingMask: ua.DataValueValue, Value: ua.MustVariant([]*ua.Variant{ua.MustVariant("x"), ua.MustVariant(sent(5005, 9))})},
	}
	var items []*ua.MonitoredItemNotification
	for i, v := range values {
		items = append(items, &ua.MonitoredItemNotification{ClientHandle: uint32(i), Value: v})
	}
	header := &ua.ResponseHeader{ServiceDiagnostics: &ua.DiagnosticInfo{}, AdditionalHeader: ua.NewExtensionObject(nil)}
	notification := ua.NewExtensionObject(&ua.DataChangeNotification{MonitoredItems: items})
	for name, c := range map[string]struct {
		in  ua.Response
		out func(ua.Response) []*ua.DataValue
	}{
		"read": {&ua.ReadResponse{ResponseHeader: header, Results: values}, func(r ua.Response) []*ua.DataValue { return r.(*ua.ReadResponse).Results }},
		"publish": {
			&ua.PublishResponse{ResponseHeader: header, SubscriptionID: 3, NotificationMessage: &ua.NotificationMessage{NotificationData: []*ua.ExtensionObject{notification, notification}}},
			func(r ua.Response) (out []*ua.DataValue) {
				for _, data := range r.(*ua.PublishResponse).NotificationMessage.NotificationData {
					for _, n := range data.Value.(*ua.DataChangeNotification).MonitoredItems {
						out = append(out, n.Value)
					}
				}
				return out
			},
		},
		"history": {
			&ua.HistoryReadResponse{ResponseHeader: header, Results: []*ua.HistoryReadResult{
				{HistoryData: ua.NewExtensionObject(&ua.HistoryData{DataValues: values[:2]})}, {HistoryData: ua.NewExtensionObject(&ua.HistoryData{DataValues: values[2:]})},
			}},
			func(r ua.Response) (out []*ua.DataValue) {
				for _, res := range r.(*ua.HistoryReadResponse).Results {
					out = append(out, res.HistoryData.Value.(*ua.HistoryData).DataValues...)
				}
				return out
			},
		},
	} {
		body, err := encodeResponse(c.in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		resp, err := decodeService(body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, dv := range c.out(resp) {
			got = append(got, seen(dv.Value))
		}
		want := "ns=2;i=5001[1 2 3] | 7 | ns=2;i=5002[4] nil ns=2;i=5004[5 6] | x ns=2;i=5005[9]"
		if name == "publish" {
			want += " | " + want
		}
		if text := strings.Join(got, " | "); text != want {
			t.Errorf("%s: %s\nexpected %s", name, text, want)
		}
		raw, err := encodeValue(c.out(resp)[0].Value)
		if same, _ := values[0].Value.Encode(); err != nil || string(raw) != string(same) {
			t.Errorf("%s: raw %x, %v, expected %x", name, raw, err, same)
		}
	}
}

func seen(v *ua.Variant) string {
	one := func(x *ua.ExtensionObject) string {
		if s, ok := x.Value.(*structure); ok {
			return fmt.Sprintf("%s%v", s.typ, s.body)
		}
		return "nil"
	}
	var out []string
	switch x := v.Value().(type) {
	case *ua.ExtensionObject:
		out = append(out, one(x))
	case []*ua.ExtensionObject:
		for _, e := range x {
			out = append(out, one(e))
		}
	case []*ua.Variant:
		for _, e := range x {
			out = append(out, seen(e))
		}
	default:
		out = append(out, fmt.Sprint(x))
	}
	return strings.Join(out, " ")
}

// definer is a server that defines types. What it does not have it says so.
type definer struct {
	defs  map[uint32]*ua.StructureDefinition // by the data type, of namespace 2; its encoding is 1000 higher
	err   error
	asked int
}

func (d *definer) ask(_ context.Context, req ua.Request) (ua.Response, error) {
	d.asked++
	if d.err != nil {
		return nil, d.err
	}
	switch req := req.(type) {
	case *ua.BrowseRequest:
		b := req.NodesToBrowse[0]
		res := &ua.BrowseResult{}
		if id := b.NodeID.IntID() - 1000; b.ReferenceTypeID.IntID() == idHasEncoding && (d.defs[id] != nil || id == 999) {
			res.References = []*ua.ReferenceDescription{{NodeID: ua.NewNumericExpandedNodeID(2, id)}}
		}
		return &ua.BrowseResponse{Results: []*ua.BrowseResult{res}}, nil
	case *ua.ReadRequest:
		resp := &ua.ReadResponse{}
		for _, n := range req.NodesToRead {
			dv := &ua.DataValue{Status: ua.StatusBadAttributeIDInvalid}
			if def := d.defs[n.NodeID.IntID()]; n.AttributeID == ua.AttributeIDDataTypeDefinition && def != nil {
				body, err := ua.Encode(def)
				if err != nil {
					return nil, err
				}
				dv = &ua.DataValue{Value: ua.MustVariant(&ua.ExtensionObject{Value: &structure{typ: ua.NewNumericNodeID(0, encStructureDefinition), body: body}})}
			}
			resp.Results = append(resp.Results, dv)
		}
		return resp, nil
	}
	return nil, &serviceError{"request", ua.StatusBadServiceUnsupported}
}

// defined is a definition with fields such as "Name 2:3001?[]".
func defined(kind ua.StructureType, fields ...string) *ua.StructureDefinition {
	def := &ua.StructureDefinition{StructureType: kind, DefaultEncodingID: ua.NewTwoByteNodeID(0), BaseDataType: ua.NewTwoByteNodeID(0)}
	for _, text := range fields {
		name, t, _ := strings.Cut(text, " ")
		f := &ua.StructureField{Name: name, Description: &ua.LocalizedText{}, ValueRank: -1}
		if rest, ok := strings.CutSuffix(t, "[][]"); ok {
			t, f.ValueRank = rest, 2
		}
		if rest, ok := strings.CutSuffix(t, "[]"); ok {
			t, f.ValueRank = rest, 1
		}
		if rest, ok := strings.CutSuffix(t, "?"); ok {
			t, f.IsOptional = rest, true
		}
		var ns uint16
		var id uint32
		if _, err := fmt.Sscanf(t, "%d:%d", &ns, &id); err != nil {
			panic(err)
		}
		f.DataType = ua.NewNumericNodeID(ns, id)
		def.Fields = append(def.Fields, f)
	}
	return def
}

const (
	boolean, byteType, text12, structureType, variantType = "0:1", "0:3", "0:12", "0:22", "0:24"
)

func someTypes() *definer {
	many := make([]string, mostFields+1)
	for i := range many {
		many[i] = fmt.Sprintf("F%d 0:1", i)
	}
	return &definer{defs: map[uint32]*ua.StructureDefinition{
		1: defined(ua.StructureTypeStructure, "A "+byteType, "B "+byteType+"[]"),
		2: defined(ua.StructureTypeStructureWithOptionalFields, "A "+byteType+"?", "B "+byteType, "C "+text12+"?"),
		3: defined(ua.StructureTypeUnion, "A "+byteType, "B 2:1"),
		4: defined(ua.StructureTypeStructure, "Value "+byteType, "Children 2:4[]"),
		5: defined(ua.StructureTypeStructure, "Any "+variantType, "Own "+structureType),
		6: defined(ua.StructureTypeStructure),
		7: defined(ua.StructureTypeStructure, "Empty 2:6[]"),
		8: defined(ua.StructureTypeStructure, "Itself 2:8"),
		9: defined(ua.StructureTypeStructureWithSubtypedValues, "A 2:1?", "B "+byteType),

		11: defined(ua.StructureTypeStructure, many...),
		12: defined(ua.StructureTypeStructure, "A 2:77"),
		13: defined(ua.StructureTypeStructure, "A "+byteType+"[][]"),
		14: defined(9, "A "+byteType),
		15: defined(ua.StructureTypeStructure, strings.Repeat("x", mostFieldName+1)+" "+byteType),
	}}
}

// ext encodes a structure as a field.
func ext(t *testing.T, encoding uint32, body ...byte) []byte {
	t.Helper()
	b, err := sent(encoding, body...).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A structure is read by the server's definition of its type; one that does not fit is
// bad, and says why.
func TestUnfold(t *testing.T) {
	deep := []byte{1, 0, 0, 0, 0}
	for range 2 * maxNested {
		deep = append([]byte{1, 1, 0, 0, 0}, deep...)
	}
	for name, c := range map[string]struct {
		typ  uint32
		body []byte
		want string
		err  string
	}{
		"plain":              {1, []byte{7, 2, 0, 0, 0, 8, 9}, `{"A":7,"B":[8,9]}`, ""},
		"null array":         {1, []byte{7, 255, 255, 255, 255}, `{"A":7,"B":null}`, ""},
		"too short":          {1, []byte{7, 2, 0, 0, 0, 8}, "", "cut off"},
		"too long":           {1, []byte{7, 0, 0, 0, 0, 8}, "", "1 bytes more than the server's own definition"},
		"array without end":  {1, []byte{7, 255, 255, 255, 127, 8}, "", "cut off"},
		"without its fields": {2, []byte{0, 0, 0, 0, 5}, `{"B":5}`, ""},
		"with one":           {2, []byte{2, 0, 0, 0, 5, 1, 0, 0, 0, 'x'}, `{"B":5,"C":"x"}`, ""},
		"with all":           {2, []byte{3, 0, 0, 0, 4, 5, 255, 255, 255, 255}, `{"A":4,"B":5,"C":""}`, ""},
		"no choice":          {3, []byte{0, 0, 0, 0}, `{}`, ""},
		"second choice":      {3, []byte{2, 0, 0, 0, 1, 255, 255, 255, 255}, `{"B":{"A":1,"B":null}}`, ""},
		"choice of none":     {3, []byte{3, 0, 0, 0}, "", "choice 3 of 2"},
		"tree":               {4, []byte{1, 1, 0, 0, 0, 2, 255, 255, 255, 255}, `{"Value":1,"Children":[{"Value":2,"Children":null}]}`, ""},
		"deep":               {4, deep, "", "without an end"},
		"array of nothing":   {5, []byte{0x80, 255, 255, 255, 127, 1, 2, 3}, "", "cut off"},
		"within":             {5, append([]byte{3, 5}, ext(t, 1003, 1, 0, 0, 0, 9)...), `{"Any":5,"Own":{"A":9}}`, ""},
		"in a variant":       {5, append(append([]byte{22}, ext(t, 1001, 1, 0, 0, 0, 0)...), 0, 0, 0), `{"Any":{"A":1,"B":[]},"Own":null}`, ""},
		"in an array": {
			5, append(append(append([]byte{0x80 | 22, 2, 0, 0, 0}, ext(t, 1001, 1, 0, 0, 0, 0)...), ext(t, 1006)...), 0, 0, 0), `{"Any":[{"A":1,"B":[]},null],"Own":null}`, "",
		},
		"of an unknown type":  {5, append([]byte{3, 5}, ext(t, 1070, 1)...), "", "of which data type the encoding ns=2;i=1070 is"},
		"of nothing":          {7, []byte{2, 0, 0, 0}, `{"Empty":[{},{}]}`, ""},
		"nothing without end": {7, []byte{255, 255, 255, 127}, "", "more than 10000 values"},
		"in itself":           {8, []byte{1}, "", "without an end"},
		"a subtype":           {9, append(ext(t, 1003, 1, 0, 0, 0, 9), 4), `{"A":{"A":9},"B":4}`, ""},
		"no encoding":         {70, []byte{1}, "", "does not tell of which data type the encoding ns=2;i=1070 is"},
		"no definition":       {999, []byte{1}, "", "no definition of the data type ns=2;i=999"},
		"too many fields":     {11, []byte{1}, "", "more than 1000 fields"},
		"a field of no type":  {12, []byte{1}, "", "field A: the server does not tell of which type ns=2;i=77 is"},
		"two dimensions":      {13, []byte{1}, "", "value rank 2"},
		"no kind":             {14, []byte{1}, "", "kind 9"},
		"long name":           {15, []byte{1}, "", "more than 256 bytes"},
	} {
		server := someTypes()
		v := ua.MustVariant(&ua.ExtensionObject{EncodingMask: 1, Value: &structure{typ: ua.NewNumericNodeID(2, 1000+c.typ), body: c.body}})
		types := newStructTypes()
		if err := types.unfold(t.Context(), server.ask, v); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := (&meaning{datatype: config.TypeJSON}).value(v)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, %v, expected %q", name, got, err, c.err)
			}
			continue
		}
		if err != nil || got != frame.ObjectValue(c.want) {
			t.Errorf("%s: %v, %v, expected %s", name, got, err, c.want)
		}
		asked := server.asked
		again := ua.MustVariant(&ua.ExtensionObject{EncodingMask: 1, Value: &structure{typ: ua.NewNumericNodeID(2, 1000+c.typ), body: c.body}})
		if err := types.unfold(t.Context(), server.ask, again); err != nil || server.asked != asked {
			t.Errorf("%s: it was asked for again (%d, then %d), %v", name, asked, server.asked, err)
		}
	}
}

// A cut while a type is asked for is one of the connection: the value is not bad, and
// the type is asked for again.
func TestUnfoldCut(t *testing.T) {
	server, types := someTypes(), newStructTypes()
	v := ua.MustVariant(&ua.ExtensionObject{EncodingMask: 1, Value: &structure{typ: ua.NewNumericNodeID(2, 1006)}})
	server.err = &linkError{"receive", errSilent}
	if err := types.unfold(t.Context(), server.ask, v); !isLink(err) {
		t.Errorf("the error is %v", err)
	}
	server.err = closedSession(&serviceError{"Read", ua.StatusBadSessionIDInvalid})
	if err := types.unfold(t.Context(), server.ask, v); !isLink(err) || !errors.Is(err, errSessionGone) {
		t.Errorf("the error is %v", err)
	}
	server.err = nil
	if err := types.unfold(t.Context(), server.ask, v); err != nil {
		t.Error(err)
	}
	if got, err := (&meaning{datatype: config.TypeJSON}).value(v); err != nil || got.Text() != "{}" {
		t.Errorf("%v, %v", got, err)
	}
}

// What a server sends as a structure ends in valid JSON or in an error.
func FuzzStructure(f *testing.F) {
	f.Add(uint32(1), []byte{7, 2, 0, 0, 0, 8, 9})
	f.Add(uint32(2), []byte{3, 0, 0, 0, 4, 5, 1, 0, 0, 0, 'x'})
	f.Add(uint32(4), []byte{1, 1, 0, 0, 0, 2, 255, 255, 255, 255})
	f.Add(uint32(5), []byte{22, 1, 2, 233, 3, 1, 6, 0, 0, 0, 1, 1, 0, 0, 0, 9, 0, 0, 0})
	f.Add(uint32(5), []byte{0xc0 | 23, 1, 0, 0, 0, 1, 24, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 255, 1, 0, 1, 3, 0, 0, 0, 1, 2, 3})
	server := someTypes()
	f.Fuzz(func(t *testing.T, typ uint32, body []byte) {
		v := ua.MustVariant(&ua.ExtensionObject{EncodingMask: 1, Value: &structure{typ: ua.NewNumericNodeID(2, 1000+typ%10), body: body}})
		if err := newStructTypes().unfold(t.Context(), server.ask, v); err != nil {
			t.Fatal(err)
		}
		got, err := (&meaning{datatype: config.TypeJSON}).value(v)
		if err == nil && !json.Valid([]byte(got.Text())) {
			t.Errorf("%x of type %d is %s", body, typ, got)
		}
	})
}
