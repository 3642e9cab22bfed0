package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
)

// lowestRoles says for every method of the API who may call it at the least. A new method
// needs its line here: nobody gets a right by having been forgotten.
var lowestRoles = map[admin.Role]string{
	admin.RoleView: `StatusService/GetStatus StatusService/GetVersion EndpointService/ListEndpoints DriverService/ListDrivers
		TagService/ListTags TagService/WatchTags TagService/ReadTag ConnectorService/ListConnectors
		BusService/GetBusStats BusService/Tail BusService/Replay BusService/Export BusService/CheckLog BusService/GetDelivery
		BusService/ListParked ConfigService/GetConfigStatus ConfigService/ListConfigHistory ConfigService/WatchConfig
		DiagnosticsService/GetLogLevel`,
	admin.RoleOperate: `EndpointService/AskEndpoint DriverService/PauseDriver DriverService/ResumeDriver
		DriverService/RestartDriver DriverService/DiagnoseDriver ConnectorService/TestConnector
		ConnectorService/ReconnectConnector ConnectorService/PauseConnector ConnectorService/ResumeConnector BusService/Flush
		BusService/RetryParked BusService/ReplayTo DiagnosticsService/TraceEndpoint DiagnosticsService/SetLogLevel
		DiagnosticsService/GetProfile DiagnosticsService/GetBundle ConfigService/ReloadConfig`,
	admin.RoleWrite: `TagService/WriteTag BusService/Import`,
	admin.RoleMaintain: `BusService/CollectGarbage BusService/SetBusSetting BusService/RemoveConsumer BusService/DropParked
		ConfigService/RollbackConfig`,
}

const apiPackage = "edge.admin.v1"

// apiMethods lists every method that the API's package has, whoever serves it.
func apiMethods() (all []string) {
	protoregistry.GlobalFiles.RangeFilesByPackage(apiPackage, func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				all = append(all, fmt.Sprintf("%s/%s", s.Name(), s.Methods().Get(j).Name()))
			}
		}
		return true
	})
	slices.Sort(all)
	return all
}

// TestEachRoleOnEveryMethod: another user calls every method of the API through the socket,
// with each role, and may call those that the role has, and no others.
func TestEachRoleOnEveryMethod(t *testing.T) {
	lowest := map[string]admin.Role{}
	for role, names := range lowestRoles {
		for _, name := range strings.Fields(names) {
			lowest[name] = role
		}
	}
	if all := apiMethods(); !slices.Equal(all, slices.Sorted(maps.Keys(lowest))) {
		t.Fatalf("the API has the methods\n%q\nand lowestRoles knows\n%q", all, slices.Sorted(maps.Keys(lowest)))
	}
	dir := openDir(t)
	client := clientIn(t, dir)
	who := []string{"user:65534"}
	for role, roles := range map[admin.Role]admin.Roles{
		admin.RoleNone:     {Maintain: []string{"user:0"}},
		admin.RoleView:     {View: who},
		admin.RoleOperate:  {Operate: who},
		admin.RoleWrite:    {Write: who},
		admin.RoleMaintain: {Maintain: who},
	} {
		t.Run(role.String(), func(t *testing.T) {
			t.Parallel()
			s := admintest.Start(t, admintest.New().Backend(), func(c *admin.Config) {
				c.Socket, c.Mode, c.Roles = filepath.Join(dir, strconv.Itoa(int(role))), 0o666, roles
			})
			var refused []string
			for name, least := range lowest {
				if least > role {
					refused = append(refused, name)
				}
			}
			slices.Sort(refused)
			told := runAsNobody(t, client, walkEnv+"="+s.Socket, mayEnv+"="+strings.Join(refused, " "))
			if got := strings.Fields(told); !slices.Equal(got, refused) {
				t.Errorf("refused:\n%q\nwant:\n%q", got, refused)
			}
		})
	}
}

// walkEnv makes this program a client that calls every method at the socket which it names
// and prints those that it was refused. mayEnv lists those for whose answer it waits long:
// others may stream, and say nothing for as long as nothing happens.
const (
	walkEnv = "ADMIN_TEST_WALK"
	mayEnv  = "ADMIN_TEST_WAIT"
)

func walk() error {
	conn, err := grpc.NewClient("unix:"+os.Getenv(walkEnv), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	slow := strings.Fields(os.Getenv(mayEnv))
	var mu sync.Mutex
	var refused []string
	var calls sync.WaitGroup
	for _, name := range apiMethods() {
		wait := 2 * time.Second
		if slices.Contains(slow, name) {
			wait = time.Minute
		}
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			if err := ask(ctx, conn, name); status.Code(err) == codes.PermissionDenied {
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, name)
			}
		})
	}
	calls.Wait()
	slices.Sort(refused)
	fmt.Println(strings.Join(refused, " "))
	return nil
}

// ask sends a method an empty request and returns the first answer's error.
func ask(ctx context.Context, conn *grpc.ClientConn, name string) error {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+apiPackage+"."+name,
		grpc.ForceCodecV2(rawCodec{}), grpc.WaitForReady(true))
	if err == nil {
		err = s.SendMsg([]byte{})
	}
	if err == nil || errors.Is(err, io.EOF) { // the answer says why
		_ = s.CloseSend()
		var answer []byte
		err = s.RecvMsg(&answer)
	}
	return err
}
