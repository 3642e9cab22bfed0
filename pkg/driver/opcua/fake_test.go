package opcua_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uacp"

	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// fake is an OPC UA server without security, written for tests alone: it has Int-like
// variables in namespace 1, subscriptions, and a hook for each answer.
type fake struct {
	t *testing.T

	mu     sync.Mutex
	l      net.Listener
	addr   string
	conns  map[net.Conn]bool
	made   int
	silent chan struct{} // closed when answers go out again; nil: they do
	away   bool
	mute   bool // nothing is published; the rest is answered
	wg     sync.WaitGroup

	values map[string]uint16
	hook   func(req ua.Request) ua.Response // nil: the usual answer
	seen   map[string]int                   // requests by type
	subs   map[uint32]*fakeSub
	lastID uint32
}

type fakeSub struct {
	items []fakeItem
	seq   uint32
	kept  map[uint32]*ua.NotificationMessage
	queue []*ua.MonitoredItemNotification
}

type fakeItem struct {
	handle uint32
	node   string
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, conns: map[net.Conn]bool{}, values: map[string]uint16{}, seen: map[string]int{}, subs: map[uint32]*fakeSub{}, addr: "127.0.0.1:0"}
	f.start()
	t.Cleanup(func() {
		f.hang(false)
		f.stop()
		f.wg.Wait()
	})
	return f
}

func (f *fake) start() {
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		f.t.Error(err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.l, f.away = l, false; f.addr != l.Addr().String() { // it is written before anybody dials
		f.addr = l.Addr().String()
	}
	f.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			f.mu.Lock()
			f.conns[c] = true
			f.made++
			f.mu.Unlock()
			f.wg.Go(func() { f.serve(c) })
		}
	})
}

// stop goes away: it refuses connections and breaks those that there are.
func (f *fake) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return
	}
	f.away = true
	_ = f.l.Close() // ends Accept
	for c := range f.conns {
		_ = c.Close() // the driver may have closed it
	}
	clear(f.conns)
}

// hang stays connected and does not answer.
func (f *fake) hang(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case on && f.silent == nil:
		f.silent = make(chan struct{})
	case !on && f.silent != nil:
		close(f.silent)
		f.silent = nil
	}
}

func (f *fake) set(node string, v uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values[node] = v
	for _, s := range f.subs {
		for _, it := range s.items {
			if it.node == node {
				s.queue = append(s.queue, &ua.MonitoredItemNotification{ClientHandle: it.handle, Value: f.read(node)})
			}
		}
	}
}

func (f *fake) get(node string) uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.values[node]
}

// read returns a variable's value, as of now. mu is held.
func (f *fake) read(node string) *ua.DataValue {
	v, ok := f.values[node]
	if !ok {
		return &ua.DataValue{EncodingMask: ua.DataValueStatusCode, Status: ua.StatusBadNodeIDUnknown}
	}
	return &ua.DataValue{EncodingMask: ua.DataValueValue | ua.DataValueSourceTimestamp, SourceTimestamp: time.Now(), Value: ua.MustVariant(v)}
}

// conn is one connection of the server.
type fakeConn struct {
	f       *fake
	c       net.Conn
	seq     uint32
	out     sync.Mutex
	waiting chan pendingPublish
}

type pendingPublish struct {
	n   uint32
	req *ua.PublishRequest
}

func (f *fake) serve(c net.Conn) {
	defer c.Close()
	ended := make(chan struct{})
	defer close(ended)
	k := &fakeConn{f: f, c: c, waiting: make(chan pendingPublish, 100)}
	f.wg.Go(func() { k.publish(ended) })
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		b := make([]byte, binary.LittleEndian.Uint32(head[4:]))
		copy(b, head)
		if _, err := io.ReadFull(c, b[8:]); err != nil {
			return
		}
		f.mu.Lock()
		silent := f.silent
		f.mu.Unlock()
		if silent != nil {
			<-silent
		}
		if err := k.take(string(b[:3]), b); err != nil {
			return
		}
	}
}

var errGoodbye = errors.New("the client says goodbye")

func (k *fakeConn) take(kind string, b []byte) error {
	switch kind {
	case "HEL":
		ack := uacp.Acknowledge{ReceiveBufSize: 65536, SendBufSize: 65536}
		body, err := ack.Encode()
		if err != nil {
			return err
		}
		out := binary.LittleEndian.AppendUint32([]byte("ACKF"), uint32(8+len(body)))
		_, err = k.c.Write(append(out, body...))
		return err
	case "CLO":
		return errGoodbye
	}
	header := 16 // of MSG
	if kind == "OPN" {
		buf := ua.NewBuffer(b[12:])
		_, _, _ = buf.ReadString(), buf.ReadBytes(), buf.ReadBytes()
		header = 12 + buf.Pos()
	}
	n := binary.LittleEndian.Uint32(b[header+4:])
	_, body, err := ua.DecodeService(b[header+8:])
	if err != nil {
		return err
	}
	req, ok := body.(ua.Request)
	if !ok {
		return errors.New("no request")
	}
	if p, ok := req.(*ua.PublishRequest); ok {
		k.waiting <- pendingPublish{n, p}
		return nil
	}
	resp := k.f.answer(req)
	return k.send(kind, b[12:header], n, resp)
}

func (k *fakeConn) send(kind string, header []byte, n uint32, resp ua.Response) error {
	k.out.Lock()
	defer k.out.Unlock()
	if resp.Header() == nil {
		resp.SetHeader(&ua.ResponseHeader{ServiceDiagnostics: &ua.DiagnosticInfo{}, AdditionalHeader: ua.NewExtensionObject(nil)})
	}
	buf := ua.NewBuffer(nil)
	buf.WriteStruct(ua.NewFourByteExpandedNodeID(0, ua.ServiceTypeID(resp)))
	buf.WriteStruct(resp)
	if buf.Error() != nil {
		return buf.Error()
	}
	if kind == "MSG" {
		header = []byte{1, 0, 0, 0}
	}
	for body := buf.Bytes(); len(body) > 0; {
		part, more := body, byte('F')
		if len(part) > 60_000 {
			part, more = part[:60_000], 'C'
		}
		body = body[len(part):]
		k.seq++
		out := append([]byte(kind), more, 0, 0, 0, 0, 1, 0, 0, 0)
		out = append(out, header...)
		out = binary.LittleEndian.AppendUint32(out, k.seq)
		out = append(binary.LittleEndian.AppendUint32(out, n), part...)
		binary.LittleEndian.PutUint32(out[4:], uint32(len(out)))
		if _, err := k.c.Write(out); err != nil {
			return err
		}
	}
	return nil
}

// publish answers publish requests with what is queued, or keep-alives.
func (k *fakeConn) publish(ended <-chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	quiet := time.Now()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		k.f.mu.Lock()
		if k.f.silent != nil || k.f.mute {
			k.f.mu.Unlock()
			continue
		}
		resp := k.f.message(time.Since(quiet) > 100*time.Millisecond)
		k.f.mu.Unlock()
		if resp == nil {
			continue
		}
		quiet = time.Now()
		select {
		case p := <-k.waiting:
			_ = k.send("MSG", nil, p.n, resp) // the connection may be gone; it is kept for republishing
		case <-ended:
			return
		}
	}
}

// message returns what a subscription has to say. mu is held.
func (f *fake) message(alive bool) *ua.PublishResponse {
	for id, s := range f.subs {
		if len(s.queue) == 0 && !alive {
			continue
		}
		m := &ua.NotificationMessage{SequenceNumber: s.seq + 1, PublishTime: time.Now()}
		if len(s.queue) > 0 {
			s.seq++
			m.NotificationData = []*ua.ExtensionObject{ua.NewExtensionObject(&ua.DataChangeNotification{MonitoredItems: s.queue})}
			s.queue = nil
			s.kept[m.SequenceNumber] = m
		}
		return &ua.PublishResponse{SubscriptionID: id, NotificationMessage: m}
	}
	return nil
}

func (f *fake) answer(req ua.Request) ua.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[typeName(req)]++
	if f.hook != nil {
		if resp := f.hook(req); resp != nil {
			return resp
		}
	}
	switch r := req.(type) {
	case *ua.OpenSecureChannelRequest:
		return &ua.OpenSecureChannelResponse{SecurityToken: &ua.ChannelSecurityToken{ChannelID: 1, TokenID: 1, RevisedLifetime: 3600000}}
	case *ua.GetEndpointsRequest:
		return &ua.GetEndpointsResponse{Endpoints: []*ua.EndpointDescription{{
			EndpointURL: "opc.tcp://other:1", Server: &ua.ApplicationDescription{ApplicationName: ua.NewLocalizedText("fake")},
			SecurityMode: ua.MessageSecurityModeNone, SecurityPolicyURI: ua.SecurityPolicyURINone,
			UserIdentityTokens: []*ua.UserTokenPolicy{{PolicyID: "0", TokenType: ua.UserTokenTypeAnonymous}},
		}}}
	case *ua.CreateSessionRequest:
		return &ua.CreateSessionResponse{
			SessionID: ua.NewNumericNodeID(1, 1), AuthenticationToken: ua.NewNumericNodeID(1, 2), RevisedSessionTimeout: r.RequestedSessionTimeout, ServerSignature: &ua.SignatureData{},
		}
	case *ua.ActivateSessionRequest:
		return &ua.ActivateSessionResponse{}
	case *ua.CloseSessionRequest:
		clear(f.subs)
		return &ua.CloseSessionResponse{}
	case *ua.ReadRequest:
		return f.answerRead(r)
	case *ua.WriteRequest:
		out := &ua.WriteResponse{}
		for _, w := range r.NodesToWrite {
			f.values[w.NodeID.StringID()] = uint16(w.Value.Value.Uint())
			out.Results = append(out.Results, ua.StatusOK)
		}
		return out
	}
	return f.answerSubscription(req)
}

func typeName(x any) string {
	switch x.(type) {
	case *ua.ReadRequest:
		return "read"
	case *ua.CreateSessionRequest:
		return "session"
	case *ua.ActivateSessionRequest:
		return "activate"
	case *ua.RepublishRequest:
		return "republish"
	case *ua.CreateMonitoredItemsRequest:
		return "monitor"
	case *ua.DeleteMonitoredItemsRequest:
		return "unmonitor"
	}
	return "other"
}

func (f *fake) answerRead(r *ua.ReadRequest) ua.Response {
	out := &ua.ReadResponse{}
	for _, n := range r.NodesToRead {
		value := func(x any) *ua.DataValue {
			return &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(x)}
		}
		switch {
		case n.AttributeID == ua.AttributeIDDataType:
			out.Results = append(out.Results, value(ua.NewNumericNodeID(0, 5)))
		case n.AttributeID == ua.AttributeIDValueRank:
			out.Results = append(out.Results, value(int32(-1)))
		case n.NodeID.Namespace() == 0 && n.NodeID.IntID() == 2255:
			out.Results = append(out.Results, value([]string{"http://opcfoundation.org/UA/", "urn:fake"}))
		case n.NodeID.Namespace() == 0:
			out.Results = append(out.Results, value(uint32(0)))
		default:
			out.Results = append(out.Results, f.read(n.NodeID.StringID()))
		}
	}
	return out
}

func (f *fake) answerSubscription(req ua.Request) ua.Response {
	fault := func(code ua.StatusCode) ua.Response {
		return &ua.ServiceFault{ResponseHeader: &ua.ResponseHeader{ServiceResult: code, ServiceDiagnostics: &ua.DiagnosticInfo{}, AdditionalHeader: ua.NewExtensionObject(nil)}}
	}
	switch r := req.(type) {
	case *ua.CreateSubscriptionRequest:
		f.lastID++
		f.subs[f.lastID] = &fakeSub{kept: map[uint32]*ua.NotificationMessage{}}
		return &ua.CreateSubscriptionResponse{
			SubscriptionID: f.lastID, RevisedPublishingInterval: r.RequestedPublishingInterval, RevisedMaxKeepAliveCount: r.RequestedMaxKeepAliveCount,
		}
	case *ua.CreateMonitoredItemsRequest:
		s := f.subs[r.SubscriptionID]
		if s == nil {
			return fault(ua.StatusBadSubscriptionIDInvalid)
		}
		out := &ua.CreateMonitoredItemsResponse{}
		for _, it := range r.ItemsToCreate {
			node, res := it.ItemToMonitor.NodeID.StringID(), &ua.MonitoredItemCreateResult{MonitoredItemID: it.RequestedParameters.ClientHandle, FilterResult: ua.NewExtensionObject(nil)}
			if _, ok := f.values[node]; !ok {
				res.StatusCode = ua.StatusBadNodeIDUnknown
			} else {
				s.items = append(s.items, fakeItem{it.RequestedParameters.ClientHandle, node})
				s.queue = append(s.queue, &ua.MonitoredItemNotification{ClientHandle: it.RequestedParameters.ClientHandle, Value: f.read(node)})
			}
			out.Results = append(out.Results, res)
		}
		return out
	case *ua.DeleteMonitoredItemsRequest:
		for _, gone := range r.MonitoredItemIDs {
			s := f.subs[r.SubscriptionID]
			for i, it := range s.items {
				if it.handle == gone {
					s.items = append(s.items[:i:i], s.items[i+1:]...)
					break
				}
			}
		}
		return &ua.DeleteMonitoredItemsResponse{}
	case *ua.RepublishRequest:
		s := f.subs[r.SubscriptionID]
		if s == nil {
			return fault(ua.StatusBadSubscriptionIDInvalid)
		}
		if m := s.kept[r.RetransmitSequenceNumber]; m != nil {
			return &ua.RepublishResponse{NotificationMessage: m}
		}
		return fault(ua.StatusBadMessageNotAvailable)
	}
	return fault(ua.StatusBadServiceUnsupported)
}

// dialer is an endpoint of one connection at a time.
type dialer struct{ f *fake }

// Acquire implements endpoint.Acquirer.
func (d dialer) Acquire(ctx context.Context) (endpoint.Lease, error) {
	var nd net.Dialer
	c, err := nd.DialContext(ctx, "tcp", d.f.addr)
	if err != nil {
		return nil, err
	}
	return lease{c}, nil
}

type lease struct{ net.Conn }

// Release implements endpoint.Lease.
func (l lease) Release(error) { _ = l.Close() } // it may be closed already
