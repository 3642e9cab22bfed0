package admin_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
)

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*(v.(*[]byte)) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = rawCodec{}

// FuzzRequests sends arbitrary bytes to every method: the gateway must answer,
// and never with a fault of its own.
func FuzzRequests(f *testing.F) {
	s := admintest.Start(f, admintest.New().Backend())
	conn := rawConn(f, s)
	if _, err := pb.NewStatusServiceClient(conn).GetVersion(f.Context(), &pb.GetVersionRequest{}, grpc.WaitForReady(true)); err != nil {
		f.Fatal(err) // the calls below have no time to connect
	}
	var methods []string
	for _, d := range []grpc.ServiceDesc{
		pb.StatusService_ServiceDesc, pb.EndpointService_ServiceDesc, pb.DriverService_ServiceDesc, pb.TagService_ServiceDesc,
		pb.BusService_ServiceDesc, pb.ConnectorService_ServiceDesc, pb.ConfigService_ServiceDesc, pb.DiagnosticsService_ServiceDesc,
	} {
		for _, m := range d.Methods {
			methods = append(methods, "/"+d.ServiceName+"/"+m.MethodName)
		}
		for _, m := range d.Streams {
			methods = append(methods, "/"+d.ServiceName+"/"+m.StreamName)
		}
	}
	seed := func(m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		for i := range methods {
			f.Add(uint8(i), b)
		}
	}
	seed(&pb.WriteTagRequest{Tag: "line.a", Value: &pb.Value{Kind: &pb.Value_Float{Float: 1}}})
	seed(&pb.ReplayRequest{Range: &pb.ReplayRange{FromSeq: 1 << 63, ToSeq: 5, Filter: &pb.FrameFilter{Tags: []string{"[a-"}}}})
	f.Fuzz(func(t *testing.T, which uint8, request []byte) {
		method := methods[int(which)%len(methods)]
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // what streams goes on for ever
		defer cancel()
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodecV2(rawCodec{}))
		if err != nil {
			t.Fatal(err)
		}
		err = stream.SendMsg(request)
		if err == nil {
			err = stream.CloseSend()
		}
		for n := 0; err == nil && n < 10; n++ {
			var answer []byte
			err = stream.RecvMsg(&answer)
		}
		if c := status.Code(err); c == codes.Internal && len(request) > 0 && !badProto(err) {
			t.Errorf("%s: %v", method, err)
		}
	})
}

// badProto reports whether the server only said that it could not decode.
func badProto(err error) bool {
	return status.Convert(err).Message() != "the gateway has a fault in this call; its log has the details"
}
