package opcua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// maxSupertypes bounds the way from a data type to the built-in type that it is of.
const maxSupertypes = 16

// Write implements driver.Driver.
func (d *opcuaDriver) Write(ctx context.Context, w driver.Write) (driver.WriteResult, error) {
	p := d.plans.Newest()
	i, err := driver.Writable(p.table, d.id, w.Tag, d.settings.EnableWrite)
	if err != nil {
		return driver.WriteResult{}, fmt.Errorf("write %s: %w", w.Tag, err)
	}
	raw, err := p.table.Invert(i, w.Value) // its error names the tag
	if err != nil {
		return driver.WriteResult{}, err
	}
	res, err := d.write(ctx, p, i, raw)
	if err != nil {
		return driver.WriteResult{}, fmt.Errorf("tag %s: %w", w.Tag, err)
	}
	return res, nil
}

// write writes a raw value, once.
func (d *opcuaDriver) write(ctx context.Context, p *plan, i int, raw frame.Value) (driver.WriteResult, error) {
	d.begun(ctx)
	l, err := d.use()
	if err != nil {
		return driver.WriteResult{}, err
	}
	id, err := d.node(l, &p.points[i])
	if err != nil {
		return driver.WriteResult{}, err
	}
	t, err := d.typeOf(ctx, l, id)
	if err != nil {
		return driver.WriteResult{}, err
	}
	v, err := toVariant(raw, t)
	if err != nil {
		return driver.WriteResult{}, err
	}
	began := time.Now()
	resp, err := l.ask(ctx, &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{{
		NodeID: id, AttributeID: ua.AttributeIDValue, Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: v},
	}}})
	d.requested("write", time.Since(began), err)
	if _, answered := errors.AsType[*serviceError](err); err != nil && !answered {
		return driver.WriteResult{}, fmt.Errorf("%w: %w", driver.ErrOutcomeUnknown, err)
	}
	if err != nil {
		return driver.WriteResult{}, err
	}
	done, ok := resp.(*ua.WriteResponse)
	if !ok || len(done.Results) != 1 {
		return driver.WriteResult{}, fmt.Errorf("%w: %w", driver.ErrOutcomeUnknown, unexpected(resp))
	}
	code := done.Results[0]
	if isBad(code) {
		if code == ua.StatusBadTypeMismatch || code == ua.StatusBadNodeIDUnknown {
			d.forgetType(l, id)
		}
		return driver.WriteResult{}, &serviceError{"Write", code}
	}
	res := driver.WriteResult{TS: time.Now().UnixNano()}
	if code != ua.StatusOK {
		res.Note = "the server says " + StatusText(code)
	}
	if !d.settings.VerifyWrite || !p.points[i].read {
		return res, nil
	}
	return d.verify(ctx, p, i, raw, res)
}

// verify reads back what was written.
func (d *opcuaDriver) verify(ctx context.Context, p *plan, i int, raw frame.Value, res driver.WriteResult) (driver.WriteResult, error) {
	if d.settings.VerifyDelay > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(d.settings.VerifyDelay):
		}
	}
	dv, err := d.readNow(ctx, &p.points[i])
	if err != nil || isBad(dv.Status) {
		if err == nil {
			err = &serviceError{"Read", dv.Status}
		}
		return res, fmt.Errorf("%w: the server confirmed the write, but it cannot be read back: %w", driver.ErrOutcomeUnknown, err)
	}
	held, err := d.meaning(p, i).value(dv.Value)
	if err != nil {
		return res, fmt.Errorf("the server holds another value: %w", err)
	}
	if !sameValue(held, raw) {
		return res, fmt.Errorf("the server confirmed the write, but holds %s instead of %s", held, raw)
	}
	res.ReadBack, _ = p.table.Scale(i, held)
	return res, nil
}

// sameValue compares what is held with what was written: numbers as numbers, floats as
// the server may have rounded them.
func sameValue(held, written frame.Value) bool {
	if held == written {
		return true
	}
	a, okA := held.Number()
	b, okB := written.Number()
	if !okA || !okB || held.Kind() != frame.KindFloat && written.Kind() != frame.KindFloat {
		return false
	}
	return a == b || float32(a) == float32(b)
}

// typeOf returns the built-in type of a node's value. It is asked for once in a
// session.
func (d *opcuaDriver) typeOf(ctx context.Context, l *live, id *ua.NodeID) (ua.TypeID, error) {
	d.mu.Lock()
	t, known := l.typ[id.String()]
	d.mu.Unlock()
	if known {
		return t, nil
	}
	values, err := readNodes(ctx, l.ask, []*ua.ReadValueID{attributeOf(id, ua.AttributeIDDataType), attributeOf(id, ua.AttributeIDValueRank)}, 2)
	if err != nil {
		return 0, err
	}
	if isBad(values[0].Status) {
		return 0, &serviceError{"Read of its data type", values[0].Status}
	}
	if rank, ok := values[1].Value.Value().(int32); ok && rank >= 0 {
		return 0, fmt.Errorf("%w: it is an array", errCannotWrite)
	}
	dt, ok := values[0].Value.Value().(*ua.NodeID)
	if !ok {
		return 0, errors.New("the server tells no data type of the node")
	}
	if t, err = builtIn(ctx, l.ask, dt); err != nil {
		return 0, err
	}
	if t == ua.TypeIDExtensionObject || t == ua.TypeIDVariant {
		return 0, fmt.Errorf("%w: its data type is %s", errCannotWrite, dt)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.typ[id.String()] = t
	return t, nil
}

func (d *opcuaDriver) forgetType(l *live, id *ua.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(l.typ, id.String())
}

// builtIn returns the built-in type that a data type is of (OPC 10000-6, 5.1.2): the
// first one on the way up its supertypes.
func builtIn(ctx context.Context, ask asker, dt *ua.NodeID) (ua.TypeID, error) {
	const enumeration = 29
	for range maxSupertypes {
		if isBuiltIn(dt) && dt.IntID() > 0 {
			return ua.TypeID(dt.IntID()), nil
		}
		if dt.Namespace() == 0 && dt.StringID() == "" && dt.IntID() == enumeration {
			return ua.TypeIDInt32, nil
		}
		up, err := backwards(ctx, ask, dt, idHasSubtype)
		if err != nil {
			return 0, err
		}
		if up == nil {
			break
		}
		dt = up
	}
	return 0, fmt.Errorf("the server does not tell of which type %s is", dt)
}

// backwards returns the one node from which a reference of that type leads to id; nil if
// the server tells of none, or of several.
func backwards(ctx context.Context, ask asker, id *ua.NodeID, reference uint32) (*ua.NodeID, error) {
	resp, err := ask(ctx, &ua.BrowseRequest{
		View: noView(), RequestedMaxReferencesPerNode: 2,
		NodesToBrowse: []*ua.BrowseDescription{{
			NodeID: id, BrowseDirection: ua.BrowseDirectionInverse, ReferenceTypeID: ua.NewNumericNodeID(0, reference), ResultMask: uint32(ua.BrowseResultMaskNone),
		}},
	})
	if err != nil {
		return nil, err
	}
	got, ok := resp.(*ua.BrowseResponse)
	if !ok || len(got.Results) != 1 || len(got.Results[0].References) != 1 || got.Results[0].References[0].NodeID == nil {
		return nil, nil
	}
	return ua.NewNodeIDFromExpandedNodeID(got.Results[0].References[0].NodeID), nil
}

func noView() *ua.ViewDescription { return &ua.ViewDescription{ViewID: ua.NewTwoByteNodeID(0)} }
