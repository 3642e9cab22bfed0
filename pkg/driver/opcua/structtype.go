package opcua

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/gopcua/opcua/ua"
)

// Bounds of what a server may define.
const (
	mostTypes     = 1000 // in a session
	mostFields    = 1000 // of a type
	mostFieldName = 256  // bytes
)

// Binary encodings of the structures that the driver uses itself (OPC 10000-6, annex A).
const (
	encStructureDefinition = 122
	encEnumDefinition      = 123
	encServerStatus        = 864
	encEnumValue           = 8251
)

// structType is the type of a structure as the server defines it.
type structType struct {
	id       string // of the data type
	union    bool
	optional bool // some of its fields are
	fields   []structField
}

type structField struct {
	key   []byte      // `"NAME":`
	typ   ua.TypeID   // unless of says which structure it is
	of    *structType // which stands there without a type of its own
	array bool
	bit   uint32 // that tells whether it is there; 0: it always is
}

// structTypes are the types of structures that a session has come by. Its methods may
// be called concurrently.
type structTypes struct {
	mu     sync.Mutex
	known  map[string]*structType // by the encoding
	failed map[string]error       // ditto
}

func newStructTypes() *structTypes {
	return &structTypes{known: map[string]*structType{}, failed: map[string]error{}}
}

// unknownType is a type that was not asked for yet.
type unknownType struct{ id *ua.NodeID }

func (e *unknownType) Error() string {
	return "the structure's type " + e.id.String() + " is not known"
}

// get returns the type with an encoding. The error is an [unknownType] if nobody has
// asked for it.
func (t *structTypes) get(encoding *ua.NodeID) (*structType, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := encoding.String()
	if known := t.known[id]; known != nil {
		return known, nil
	}
	if err := t.failed[id]; err != nil {
		return nil, err
	}
	if len(t.known)+len(t.failed) >= mostTypes {
		return nil, fmt.Errorf("the server sends structures of more than %d types", mostTypes)
	}
	return nil, &unknownType{encoding}
}

// learn asks for the type with an encoding. An error is one of the connection.
func (t *structTypes) learn(ctx context.Context, ask asker, encoding *ua.NodeID) error {
	s := &study{made: map[string]*structType{}, open: map[string]bool{}}
	s.ask = func(ctx context.Context, req ua.Request) (ua.Response, error) {
		resp, err := ask(ctx, req)
		if ofLink(err) != nil {
			s.link = err
		}
		return resp, err
	}
	made, why := s.encoded(ctx, encoding)
	if s.link != nil {
		return s.link
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if why != nil {
		t.failed[encoding.String()] = fmt.Errorf("the server sends a structure that cannot be read: %w", why)
		return nil
	}
	t.known[encoding.String()] = made
	return nil
}

// study finds out what a type is.
type study struct {
	ask  asker
	made map[string]*structType // by the data type; some are not finished yet
	open map[string]bool        // data types of which only subtypes have values
	link error                  // of the connection
}

// encoded returns the type that has an encoding.
func (s *study) encoded(ctx context.Context, encoding *ua.NodeID) (*structType, error) {
	id, err := backwards(ctx, s.ask, encoding, idHasEncoding)
	if err != nil {
		return nil, err
	}
	if id == nil {
		return nil, fmt.Errorf("the server does not tell of which data type the encoding %s is", encoding)
	}
	made, err := s.dataType(ctx, id)
	if err == nil && made == nil {
		err = fmt.Errorf("the server has no definition of the data type %s (DataTypeDefinition, since version 1.04 of the standard)", id)
	}
	return made, err
}

// dataType returns the type that a data type defines, nil if it defines no structure.
func (s *study) dataType(ctx context.Context, id *ua.NodeID) (*structType, error) {
	if made := s.made[id.String()]; made != nil {
		return made, nil
	}
	values, err := readNodes(ctx, s.ask, []*ua.ReadValueID{attributeOf(id, ua.AttributeIDDataTypeDefinition), attributeOf(id, ua.AttributeIDIsAbstract)}, 2)
	if err != nil {
		return nil, err
	}
	s.open[id.String()], _ = values[1].Value.Value().(bool)
	object, _ := values[0].Value.Value().(*ua.ExtensionObject)
	var def ua.StructureDefinition
	if !bodyOf(object, encStructureDefinition, &def) {
		return nil, nil
	}
	if len(def.Fields) > mostFields || len(s.made) >= mostTypes {
		return nil, fmt.Errorf("data type %s: more than %d fields, or %d types in it", id, mostFields, mostTypes)
	}
	made := &structType{id: id.String()}
	s.made[id.String()] = made
	if err := s.fields(ctx, made, &def); err != nil {
		return nil, fmt.Errorf("data type %s: %w", id, err)
	}
	return made, nil
}

// fields fills in the fields of a type.
func (s *study) fields(ctx context.Context, t *structType, def *ua.StructureDefinition) error {
	subtypes := false
	switch def.StructureType {
	case ua.StructureTypeStructure:
	case ua.StructureTypeStructureWithOptionalFields:
		t.optional = true
	case ua.StructureTypeUnion:
		t.union = true
	case ua.StructureTypeStructureWithSubtypedValues:
		subtypes = true
	case ua.StructureTypeUnionWithSubtypedValues:
		t.union, subtypes = true, true
	default:
		return fmt.Errorf("structures of kind %d are not known", def.StructureType)
	}
	bits := 0
	for i, d := range def.Fields {
		if d == nil || d.DataType == nil || len(d.Name) > mostFieldName {
			return fmt.Errorf("field %d has no data type, or a name of more than %d bytes", i, mostFieldName)
		}
		f, err := s.field(ctx, d, subtypes && d.IsOptional)
		if err != nil {
			return fmt.Errorf("field %s: %w", d.Name, err)
		}
		if t.optional && d.IsOptional {
			if bits == 32 {
				return fmt.Errorf("more than 32 fields are optional")
			}
			f.bit = 1 << bits
			bits++
		}
		t.fields = append(t.fields, f)
	}
	return nil
}

// field returns a field. If it may hold subtypes, it has a type of its own.
func (s *study) field(ctx context.Context, d *ua.StructureField, subtypes bool) (f structField, err error) {
	key, err := json.Marshal(d.Name)
	if err != nil {
		return f, err
	}
	f.key = append(key, ':')
	const scalar, oneDimension = -1, 1
	switch d.ValueRank {
	case scalar:
	case oneDimension:
		f.array = true
	default:
		return f, fmt.Errorf("arrays with value rank %d within structures are not read", d.ValueRank)
	}
	if isBuiltIn(d.DataType) && d.DataType.IntID() > 0 {
		f.typ = ua.TypeID(d.DataType.IntID())
		return f, nil
	}
	of, err := s.dataType(ctx, d.DataType)
	switch {
	case err != nil:
		return f, err
	case of != nil && (s.open[d.DataType.String()] || subtypes):
		f.typ = ua.TypeIDExtensionObject
		return f, nil
	case of != nil:
		f.of = of
		return f, nil
	}
	if f.typ, err = builtIn(ctx, s.ask, d.DataType); err != nil {
		return f, err
	}
	if f.typ == ua.TypeIDExtensionObject && !s.open[d.DataType.String()] {
		return f, fmt.Errorf("the server has no definition of its data type %s", d.DataType)
	}
	if subtypes && !slices.Contains([]ua.TypeID{ua.TypeIDExtensionObject, ua.TypeIDVariant}, f.typ) {
		f.typ = ua.TypeIDVariant
	}
	return f, nil
}
