package admintest

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/asking"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// answerTook is how long each answer of the device is said to have taken.
const answerTook = 3 * time.Millisecond

// AskEndpoint asks plc1, whose unit 1 has the registers 0x4145, 0x70A4 again and again.
func (fakeEndpoints) AskEndpoint(r *pb.AskEndpointRequest, out grpc.ServerStreamingServer[pb.AskEndpointResponse]) error {
	if r.GetEndpoint() != "plc1" {
		return fmt.Errorf("endpoint %q: %w", r.GetEndpoint(), errkind.NotFound)
	}
	p, ok := protocols.Builtin().Find(r.GetProtocol())
	ability := p.Ability(r.GetAbility())
	if !ok || ability == nil {
		return fmt.Errorf("protocol %q can't %q: %w", r.GetProtocol(), r.GetAbility(), errkind.Invalid)
	}
	to := driver.Target{Item: config.Endpoint{Scheme: "tcp", Host: "10.0.0.1", Port: 502}, ID: "plc1", Endpoint: registers{}, Shared: true}
	return asking.Serve(out.Context(), ability, to, r, func(m *pb.AskEndpointResponse) error {
		for _, s := range m.GetReport().GetSteps() {
			if s.Name == "answer" {
				s.Took = durationpb.New(answerTook)
			}
		}
		return out.Send(m)
	})
}

// registers implements [endpoint.Acquirer] with connections to the device.
type registers struct{}

// Acquire implements [endpoint.Acquirer].
func (registers) Acquire(context.Context) (endpoint.Lease, error) { return new(registerConn), nil }

// registerConn is a connection to the device: reads of registers by Modbus TCP are
// answered at once, units but 1 are silent.
type registerConn struct {
	net.Conn
	answer []byte
}

func (c *registerConn) Write(request []byte) (int, error) {
	const header = 7
	if len(request) < header+5 || request[6] != 1 {
		return len(request), nil
	}
	n := binary.BigEndian.Uint16(request[header+3:])
	c.answer = append(c.answer, request[:4]...)
	c.answer = binary.BigEndian.AppendUint16(c.answer, 3+2*n)
	c.answer = append(c.answer, request[6], request[header], byte(2*n))
	for i := range n {
		c.answer = binary.BigEndian.AppendUint16(c.answer, [...]uint16{0x4145, 0x70A4}[i%2])
	}
	return len(request), nil
}

func (c *registerConn) Read(p []byte) (int, error) {
	if len(c.answer) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, c.answer)
	c.answer = c.answer[n:]
	return n, nil
}

func (c *registerConn) Close() error                     { return nil }
func (c *registerConn) Release(error)                    {}
func (c *registerConn) SetDeadline(time.Time) error      { return nil }
func (c *registerConn) SetReadDeadline(time.Time) error  { return nil }
func (c *registerConn) SetWriteDeadline(time.Time) error { return nil }
