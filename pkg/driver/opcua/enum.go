package opcua

import (
	"context"
	"errors"
	"slices"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// nameEnums learns the names of enumerations' values, for the variables that show them
// as text. What the server does not tell is shown as a number.
func (r *runner) nameEnums(ctx context.Context) error {
	var todo []*item
	var nodes []*ua.ReadValueID
	for _, it := range r.handles {
		if it.id == nil || it.asked || it.index < 0 {
			continue
		}
		it.asked, it.names = true, nil
		if r.plan.table.Variable(it.index).Datatype == config.TypeString {
			todo = append(todo, it)
			nodes = append(nodes, attributeOf(it.id, ua.AttributeIDDataType))
		}
	}
	if len(todo) == 0 {
		return nil
	}
	types, err := r.readNodes(ctx, nodes)
	if err != nil {
		return ofLink(err)
	}
	for i, it := range todo {
		dt, ok := types[i].Value.Value().(*ua.NodeID)
		if !ok || isBuiltIn(dt) {
			continue
		}
		names, known := r.enums[dt.String()]
		if !known {
			if names, err = enumNames(ctx, r.ask, dt); err != nil {
				return err
			}
			r.enums[dt.String()] = names
		}
		it.names = names
		r.d.setNames(it.tag, names)
	}
	return nil
}

// ofLink returns err unless it is an answer.
func ofLink(err error) error {
	if _, answered := errors.AsType[*serviceError](err); answered {
		return nil
	}
	return err
}

// isBuiltIn reports whether a data type is one of those that have no names.
func isBuiltIn(dt *ua.NodeID) bool {
	const lastBuiltIn = 25
	return dt.Namespace() == 0 && dt.StringID() == "" && dt.IntID() <= lastBuiltIn
}

// enumNames returns the names of a data type's values, nil if it is no enumeration: of
// its definition, or where the server has none (before version 1.04), its properties.
func enumNames(ctx context.Context, ask asker, dt *ua.NodeID) (map[int64]string, error) {
	values, err := readNodes(ctx, ask, []*ua.ReadValueID{attributeOf(dt, ua.AttributeIDDataTypeDefinition)}, 1)
	if err != nil {
		return nil, ofLink(err)
	}
	if names := namesIn(values[0].Value.Value()); names != nil {
		return names, nil
	}
	req := &ua.TranslateBrowsePathsToNodeIDsRequest{}
	for _, name := range []string{"EnumValues", "EnumStrings"} {
		req.BrowsePaths = append(req.BrowsePaths, &ua.BrowsePath{StartingNode: dt, RelativePath: &ua.RelativePath{Elements: []*ua.RelativePathElement{{
			ReferenceTypeID: ua.NewNumericNodeID(0, idHasProperty), TargetName: &ua.QualifiedName{Name: name},
		}}}})
	}
	resp, err := ask(ctx, req)
	if err != nil {
		return nil, ofLink(err)
	}
	found, _ := resp.(*ua.TranslateBrowsePathsToNodeIDsResponse)
	if found == nil {
		return nil, nil
	}
	for _, res := range found.Results {
		if res == nil || isBad(res.StatusCode) || len(res.Targets) == 0 || res.Targets[0].TargetID == nil {
			continue
		}
		id := ua.NewNodeIDFromExpandedNodeID(res.Targets[0].TargetID)
		values, err := readNodes(ctx, ask, []*ua.ReadValueID{valueOf(id)}, 1)
		if err != nil {
			return nil, ofLink(err)
		}
		if names := namesIn(values[0].Value.Value()); names != nil {
			return names, nil
		}
	}
	return nil, nil
}

// namesIn reads the names from a definition or a property of an enumeration.
func namesIn(x any) map[int64]string {
	names := map[int64]string{}
	switch x := x.(type) {
	case *ua.ExtensionObject:
		if x == nil {
			return nil
		}
		var def ua.EnumDefinition
		var value ua.EnumValueType
		switch {
		case bodyOf(x, encEnumDefinition, &def):
			for _, f := range def.Fields {
				if f != nil {
					names[f.Value] = f.Name
				}
			}
		case bodyOf(x, encEnumValue, &value) && value.DisplayName != nil:
			names[value.Value] = value.DisplayName.Text
		}
	case []*ua.ExtensionObject:
		for _, e := range x {
			for value, name := range namesIn(e) {
				names[value] = name
			}
		}
	case []*ua.LocalizedText:
		for i, text := range slices.All(x) {
			if text != nil {
				names[int64(i)] = text.Text
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return names
}

func (d *opcuaDriver) setNames(tag string, names map[int64]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[tag] = names
}

// meaning returns what variable i of a plan makes of its node's value.
func (d *opcuaDriver) meaning(p *plan, i int) *meaning {
	v := p.table.Variable(i)
	m := &meaning{datatype: v.Datatype, index: v.Address.Index}
	if v.Datatype == config.TypeString {
		d.mu.Lock()
		defer d.mu.Unlock()
		m.names = d.names[v.Tag]
	}
	return m
}
