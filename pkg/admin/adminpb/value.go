package adminpb

import "github.com/edge-gateway/edge-gateway/pkg/frame"

// ValueOf returns the message of v.
func ValueOf(v frame.Value) *Value {
	switch v.Kind() {
	case frame.KindBool:
		return &Value{Kind: &Value_Bool{Bool: v.Bool()}}
	case frame.KindInt:
		return &Value{Kind: &Value_Int{Int: v.Int()}}
	case frame.KindUint:
		return &Value{Kind: &Value_Uint{Uint: v.Uint()}}
	case frame.KindFloat:
		return &Value{Kind: &Value_Float{Float: v.Float()}}
	case frame.KindString:
		return &Value{Kind: &Value_Text{Text: v.Text()}}
	case frame.KindBytes:
		return &Value{Kind: &Value_Bytes{Bytes: []byte(v.Text())}}
	case frame.KindObject:
		return &Value{Kind: &Value_Object{Object: v.Text()}}
	case frame.KindArray:
		return &Value{Kind: &Value_Array{Array: v.Text()}}
	}
	return &Value{}
}

// Frame returns the value that m carries; none if m is nil or empty.
func (m *Value) Frame() frame.Value {
	switch k := m.GetKind().(type) {
	case *Value_Bool:
		return frame.BoolValue(k.Bool)
	case *Value_Int:
		return frame.IntValue(k.Int)
	case *Value_Uint:
		return frame.UintValue(k.Uint)
	case *Value_Float:
		return frame.FloatValue(k.Float)
	case *Value_Text:
		return frame.StringValue(k.Text)
	case *Value_Bytes:
		return frame.BytesValue(k.Bytes)
	case *Value_Object:
		return frame.ObjectValue(k.Object)
	case *Value_Array:
		return frame.ArrayValue(k.Array)
	}
	return frame.Value{}
}

// QualityOf returns the message's word for q.
func QualityOf(q frame.Quality) Quality {
	switch q {
	case frame.Good:
		return Quality_QUALITY_GOOD
	case frame.Uncertain:
		return Quality_QUALITY_UNCERTAIN
	}
	return Quality_QUALITY_BAD
}

// Frame returns the quality; bad if it is not set or unknown.
func (q Quality) Frame() frame.Quality {
	switch q {
	case Quality_QUALITY_GOOD:
		return frame.Good
	case Quality_QUALITY_UNCERTAIN:
		return frame.Uncertain
	}
	return frame.Bad
}
