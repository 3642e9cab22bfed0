package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// Client talks to a gateway. Its errors are meant for people and match this package's
// sentinels. Calls that stream go on until their context ends, all others have a time
// limit.
type Client struct {
	Status      pb.StatusServiceClient
	Endpoints   pb.EndpointServiceClient
	Drivers     pb.DriverServiceClient
	Tags        TagClient
	Bus         BusBackend
	Connectors  pb.ConnectorServiceClient
	Config      pb.ConfigServiceClient
	Diagnostics DiagnosticsClient

	conn *grpc.ClientConn
}

// DefaultSockets are the paths where a gateway is looked for, in this order.
func DefaultSockets() []string {
	return []string{"/run/edge-gw/admin.sock", "/var/lib/edge-gw/admin.sock"}
}

// Find returns the first of DefaultSockets that exists.
func Find() (string, error) {
	for _, path := range DefaultSockets() {
		if _, err := os.Stat(path); err == nil || errors.Is(err, fs.ErrPermission) {
			return path, nil
		}
	}
	return "", &UnreachableError{Text: fmt.Sprintf("no gateway found: there is neither %s. %s",
		strings.Join(DefaultSockets(), " nor "), noGateway)}
}

const (
	dialTimeout  = 5 * time.Second
	greetTimeout = 20 * time.Second             // of a gateway that took the connection
	readTimeout  = 30 * time.Second             // of calls without side effects
	writeTimeout = unaryTimeout + 5*time.Second // the server gives up first
	maxAnswer    = 64 << 20                     // bytes of one message
)

// Dial connects to the gateway at socket; "" means the one that [Find] finds.
// When there is none, the error is an [UnreachableError]; when there is one that does not
// speak, it is [context.DeadlineExceeded] as well.
func Dial(ctx context.Context, socket string) (*Client, error) {
	if socket == "" {
		var err error
		if socket, err = Find(); err != nil {
			return nil, err
		}
	}
	if err := probe(ctx, socket); err != nil {
		return nil, err
	}
	methods := methodsOf(apiFiles()...)
	conn, err := grpc.NewClient("passthrough:///"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}),
		grpc.WithAuthority("edge-gw"),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 2 * greetTimeout}), // greet gives up first
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			limit := readTimeout
			if methods[method].mutates {
				limit = writeTimeout
			}
			limited, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			err := fromStatus(invoke(limited, method, req, reply, cc, opts...))
			if errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil && ctx.Err() == nil { // else it is the gateway that tells of a time-out
				return unanswered(socket, limit)
			}
			return err
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("gateway at %s: %w", socket, err)
	}
	if err := greet(ctx, conn, socket, greetTimeout); err != nil {
		_ = conn.Close() // the first error counts
		return nil, err
	}
	return newClient(conn), nil
}

// greet waits until the gateway speaks. One that hangs takes connections all the same,
// because the kernel does that. A connection that breaks is told by the first call.
func greet(ctx context.Context, conn *grpc.ClientConn, socket string, limit time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn.Connect()
	for state := conn.GetState(); state == connectivity.Idle || state == connectivity.Connecting; state = conn.GetState() {
		if !conn.WaitForStateChange(limited, state) {
			return cmp.Or(ctx.Err(), unanswered(socket, limit))
		}
	}
	return nil
}

// unanswered is the error of a gateway that said nothing.
func unanswered(socket string, limit time.Duration) error {
	return &UnreachableError{
		Text: fmt.Sprintf("the gateway at %s did not answer within %v; it may be overloaded or hang", socket, limit),
		Err:  context.DeadlineExceeded,
	}
}

func newClient(conn *grpc.ClientConn) *Client {
	return &Client{
		Status:      pb.NewStatusServiceClient(conn),
		Endpoints:   pb.NewEndpointServiceClient(conn),
		Drivers:     pb.NewDriverServiceClient(conn),
		Tags:        TagClient{pb.NewTagServiceClient(conn)},
		Bus:         &busClient{pb.NewBusServiceClient(conn)},
		Connectors:  pb.NewConnectorServiceClient(conn),
		Config:      pb.NewConfigServiceClient(conn),
		Diagnostics: DiagnosticsClient{pb.NewDiagnosticsServiceClient(conn)},
		conn:        conn,
	}
}

// Close ends the connection and all calls on it.
func (c *Client) Close() error { return c.conn.Close() }

// probe connects once, to say precisely what is wrong.
func probe(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err == nil {
		return c.Close()
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return &UnreachableError{Text: explainDial(socket, err), Err: err}
}

// explainDial says what a person can do about err.
func explainDial(socket string, err error) string {
	switch {
	case len(socket) > maxSocketPath:
		return fmt.Sprintf("%s is too long for a socket's path: it has %d bytes, the system takes %d", socket, len(socket), maxSocketPath)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("there is no admin socket at %s. Is the gateway running? Is this the path of admin.socket in its gateway.yml (default: admin.sock in its data_dir)?", socket)
	case errkind.Refused(err):
		if info, serr := os.Stat(socket); serr == nil && info.Mode()&os.ModeSocket == 0 {
			return fmt.Sprintf("%s is not a socket; name the gateway's admin socket with --socket PATH", socket)
		}
		return fmt.Sprintf("nobody listens on %s: the gateway that made it is not running any more. Start it, or look into its log", socket)
	case errors.Is(err, fs.ErrPermission):
		return explainPermission(socket)
	}
	return fmt.Sprintf("the gateway at %s cannot be reached: %v", socket, err)
}

func explainPermission(socket string) string {
	me := userName(uint32(os.Getuid()))
	info, err := os.Stat(socket)
	if err != nil {
		return fmt.Sprintf("user %s may not enter the directory of %s: try sudo, or have admin.socket moved to a directory that you may enter", me, socket)
	}
	return fmt.Sprintf("user %s may not use %s, which belongs to %s with mode %#o: try sudo, or have admin.group and admin.mode set in gateway.yml",
		me, socket, ownerOf(info), info.Mode().Perm())
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// Receive calls handle for each message of the stream that open opens. The end of
// the stream, and of the caller's context, is no error.
func Receive[M any](ctx context.Context, open func(context.Context) (grpc.ServerStreamingClient[M], error), handle func(*M) error) error {
	inner, cancel := context.WithCancel(ctx) // ends the call when handle fails
	defer cancel()
	stream, err := open(inner)
	for err == nil {
		var m *M
		if m, err = stream.Recv(); err == nil {
			if err := handle(m); err != nil {
				return err
			}
		}
	}
	if errors.Is(err, io.EOF) || ctx.Err() != nil && errors.Is(fromStatus(err), ctx.Err()) {
		return nil
	}
	return fromStatus(err)
}

// whole makes an error of an end that came too early.
func whole(ctx context.Context, err error) error {
	if err == nil {
		return ctx.Err()
	}
	return err
}

// TagClient is the service of tags, with a list that is whole.
type TagClient struct{ pb.TagServiceClient }

// List returns the tags whose name matches glob, sorted by name; "" is all.
func (c TagClient) List(ctx context.Context, glob string) ([]*pb.Tag, error) {
	tags := []*pb.Tag{}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.ListTagsResponse], error) {
		return c.ListTags(ctx, &pb.ListTagsRequest{Glob: glob})
	}
	err := whole(ctx, Receive(ctx, open, func(m *pb.ListTagsResponse) error {
		tags = append(tags, m.GetTags()...)
		return nil
	}))
	return tags, err
}

// DiagnosticsClient is the service of diagnostics, with files that are whole.
type DiagnosticsClient struct{ pb.DiagnosticsServiceClient }

// Profile writes a profile in pprof's format; kind is "cpu", "heap", "goroutine",
// "allocs", "block" or "mutex", d is for "cpu".
func (c DiagnosticsClient) Profile(ctx context.Context, kind string, d time.Duration, w io.Writer) error {
	return download(ctx, w, func(ctx context.Context) (grpc.ServerStreamingClient[pb.GetProfileResponse], error) {
		return c.GetProfile(ctx, &pb.GetProfileRequest{Kind: kind, Duration: durationpb.New(d)})
	})
}

// Bundle writes a support archive: a gzipped tar.
func (c DiagnosticsClient) Bundle(ctx context.Context, w io.Writer) error {
	return download(ctx, w, func(ctx context.Context) (grpc.ServerStreamingClient[pb.GetBundleResponse], error) {
		return c.GetBundle(ctx, &pb.GetBundleRequest{})
	})
}

// download writes the data of the messages of a stream.
func download[M any, PM interface {
	*M
	GetData() []byte
}](ctx context.Context, w io.Writer, open func(context.Context) (grpc.ServerStreamingClient[M], error)) error {
	return whole(ctx, Receive(ctx, open, func(m *M) error {
		_, err := w.Write(PM(m).GetData())
		return err
	}))
}
