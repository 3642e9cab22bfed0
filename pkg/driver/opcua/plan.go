package opcua

import (
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// plan is what a table of points asks of the server. It is immutable.
type plan struct {
	table  *point.Table
	points []target // by index in table
}

// target is what one variable asks for.
type target struct {
	node  Node
	watch watch
	read  bool // it is watched or read; else only written
}

// Resolve returns the address of a variable's node. The errors are [config.FieldError]s.
func Resolve(v *config.Variable) (Node, error) {
	if v.Address.Type != config.AddrOPCNode {
		return Node{}, config.FieldErrorf("address.type", "%s: an OPC UA variable has the address {node: \"ns=2;s=NAME\"}", v.Address.Type)
	}
	n, err := ParseNode(v.Address.Node)
	if err != nil {
		return n, config.FieldErrorf("address.node", "%v", err)
	}
	if !readable(v.Datatype) {
		return n, config.FieldErrorf("datatype", "%s: the server has no such values; expected bool, string, binary, a float or an integer of 8 to 64 bits", v.Datatype)
	}
	if v.Polling > 0 && v.Polling.Std() < minPolling {
		return n, config.FieldErrorf("polling", "%v, expected %v at least", v.Polling, config.Duration(minPolling))
	}
	return n, nil
}

func newPlan(s *Settings, table *point.Table) (*plan, error) {
	p := &plan{table: table, points: make([]target, table.Len())}
	for i := range p.points {
		v := table.Variable(i)
		n, err := Resolve(v)
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", v.Tag, err)
		}
		p.points[i] = target{n, s.watch(n, v), v.Access.Readable()}
	}
	return p, nil
}
