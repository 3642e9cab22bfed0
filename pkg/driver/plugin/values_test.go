package plugin

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// TestFit: a value that its variable's data type can't have is none.
func TestFit(t *testing.T) {
	i, u, f, s := frame.IntValue, frame.UintValue, frame.FloatValue, frame.StringValue
	none := frame.Value{}
	for _, c := range []struct {
		dt       config.DataType
		in, want frame.Value // none: refused
	}{
		{config.TypeUint16, i(65535), i(65535)}, {config.TypeUint16, i(65536), none}, {config.TypeUint16, i(-1), none},
		{config.TypeUint16, f(7), i(7)}, {config.TypeUint16, f(7.5), none}, {config.TypeUint16, f(math.NaN()), none},
		{config.TypeUint16, f(math.Inf(1)), none}, {config.TypeUint16, s("7"), none}, {config.TypeUint16, frame.BoolValue(true), none},
		{config.TypeInt8, i(-128), i(-128)}, {config.TypeInt8, i(-129), none}, {config.TypeInt8, i(128), none},
		{config.TypeInt64, i(math.MinInt64), i(math.MinInt64)}, {config.TypeInt64, u(math.MaxUint64), none}, {config.TypeInt64, f(-math.MaxFloat64), none},
		{config.TypeInt64, f(math.MaxInt64), none}, {config.TypeUint64, f(math.MaxInt64), u(1 << 63)},
		{config.TypeUint64, u(math.MaxUint64), u(math.MaxUint64)}, {config.TypeUint64, f(math.MaxUint64), none},
		{config.TypeFloat64, i(3), f(3)}, {config.TypeFloat64, f(0.5), f(0.5)}, {config.TypeFloat32, u(math.MaxUint64), f(math.MaxUint64)}, {config.TypeFloat64, s("1"), none},
		{config.TypeBool, frame.BoolValue(true), frame.BoolValue(true)}, {config.TypeBool, i(1), frame.BoolValue(true)}, {config.TypeBool, i(2), none}, {config.TypeBool, i(-1), none},
		{config.TypeString, s("é"), s("é")}, {config.TypeString, s("\xff"), none}, {config.TypeString, i(1), none}, {config.TypeDTL, s("2026-01-01"), s("2026-01-01")},
		{config.TypeBinary, frame.BytesValue([]byte{1}), frame.BytesValue([]byte{1})}, {config.TypeBinary, s("x"), none},
		{config.TypeJSON, frame.ArrayValue("[1]"), frame.ArrayValue("[1]")}, {config.TypeJSON, i(1), i(1)}, {config.TypeJSON, s("x"), s("x")}, {config.TypeJSON, s("\xff"), none},
		{config.TypeUint16, frame.ArrayValue("[1]"), none},
	} {
		got, wrong := fit(c.dt, c.in)
		if got != c.want || (wrong != "") != c.want.IsNone() {
			t.Errorf("%s of %v: %v %q, want %v", c.dt, c.in, got, wrong, c.want)
		}
	}
}

// TestColumns: what goes out as columns comes back, and each kind has its column.
func TestColumns(t *testing.T) {
	for _, v := range []frame.Value{{}, frame.BoolValue(true), frame.BoolValue(false), frame.IntValue(-5), frame.UintValue(math.MaxUint64), frame.FloatValue(1.5),
		frame.StringValue("x"), frame.BytesValue([]byte{0, 1}), frame.ArrayValue("[1]"), frame.ObjectValue(`{"a":1}`)} {
		values := one(v)
		if err := checkValues(values, 1); err != nil {
			t.Errorf("%v: %v", v, err)
			continue
		}
		c := column{v: values}
		if got, q, why := c.next(); !reflect.DeepEqual(got, v) || q != frame.Good || why != "" {
			t.Errorf("%v: %v %v %q", v, got, q, why)
		}
	}
	values := &driverpb.Values{Kinds: []byte{7, 7, 2}, Texts: [][]byte{[]byte(" 12"), []byte("[")}, Integers: []int64{1}, Qualities: []byte{0, 0, 9}, Reasons: []string{"", "", "x"}}
	if err := checkValues(values, 3); err != nil {
		t.Fatal(err)
	}
	c := column{v: values}
	for range 2 {
		if v, q, why := c.next(); !v.IsNone() || q != frame.Bad || !strings.Contains(why, "JSON") {
			t.Errorf("%v %v %q", v, q, why)
		}
	}
	if v, q, why := c.next(); v.Int() != 1 || q != frame.Bad || why != "x" {
		t.Errorf("%v %v %q", v, q, why)
	}
}

func FuzzValues(f *testing.F) {
	f.Add([]byte{1, 2, 3}, 1, 1, 1, 0, []byte(nil))
	f.Fuzz(func(t *testing.T, kinds []byte, integers, unsigneds, floats, texts int, qualities []byte) {
		const most = 1 << 10
		v := &driverpb.Values{Kinds: kinds, Qualities: qualities, Integers: make([]int64, max(0, integers)%most),
			Unsigneds: make([]uint64, max(0, unsigneds)%most), Floats: make([]float64, max(0, floats)%most), Texts: make([][]byte, max(0, texts)%most)}
		if checkValues(v, len(kinds)) != nil {
			return
		}
		c := column{v: v}
		for range kinds { // what was checked is read without a panic
			v, _, _ := c.next()
			for _, dt := range []config.DataType{config.TypeUint8, config.TypeFloat32, config.TypeBool, config.TypeString, config.TypeJSON} {
				fit(dt, v)
			}
		}
	})
}

// fakeSession is a driver whose heartbeat the test stops.
type fakeSession struct {
	driverpb.DriverServiceClient
	done  chan struct{}
	beats int
	hangs bool
}

func (f *fakeSession) Done() <-chan struct{} { return f.done }
func (f *fakeSession) Why() error            { return errors.New("it was killed") }
func (f *fakeSession) Stop()                 {}

func (f *fakeSession) Status(ctx context.Context, _ *driverpb.StatusRequest, _ ...grpc.CallOption) (*driverpb.StatusResponse, error) {
	if f.beats++; f.hangs && f.beats > 3 {
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &driverpb.StatusResponse{Advice: "raise it"}, nil
}

// TestHeartbeat: a driver that does not answer in time, or ends, is a fault; one that does is
// left alone.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			s    *fakeSession
			ends time.Duration // the session's; 0: it doesn't
			want string        // "": none within the minute
			at   time.Duration
		}{
			{&fakeSession{done: make(chan struct{})}, 0, "", 0},
			{&fakeSession{done: make(chan struct{}), hangs: true}, 0, "the driver failed: no heartbeat came for 8s", 4*heartbeat + missed},
			{&fakeSession{done: make(chan struct{})}, 5 * time.Second, "the driver failed: it was killed", 5 * time.Second},
		} {
			ctx, end := context.WithCancelCause(t.Context())
			began, told := time.Now(), ""
			wait := watch(ctx, c.s, end, func(r *driverpb.StatusResponse) { told = r.GetAdvice() })
			if c.ends > 0 {
				time.AfterFunc(c.ends, func() { close(c.s.done) })
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			why := context.Cause(ctx)
			if (why == nil) != (c.want == "") || why != nil && (why.Error() != c.want || !errors.Is(why, ErrBroken) || time.Since(began) != c.at) {
				t.Errorf("after %v: %v, want %q after %v", time.Since(began), why, c.want, c.at)
			}
			if told != "raise it" {
				t.Errorf("told %q", told)
			}
			end(nil)
			wait()
		}
	})
}

// TestFault: the reason of a call that failed is the driver's end, where it has ended.
func TestFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSession{done: make(chan struct{})}
		for code, want := range map[codes.Code]string{
			codes.DeadlineExceeded: "did not answer Poll within 3s, although it had 1s",
			codes.Unimplemented:    "does not implement Poll",
			codes.Internal:         "Poll: x y",
		} {
			if err := fault(t.Context(), s, "Poll", time.Second, status.Error(code, "x\ny")); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v", code, err)
			}
		}
		time.AfterFunc(lastWord/2, func() { close(s.done) })
		if err := fault(t.Context(), s, "Poll", time.Second, status.Error(codes.Unavailable, "EOF")); err.Error() != "the driver failed: it was killed" {
			t.Errorf("%v", err)
		}
	})
}
