package mqtt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// downCommand is the payload of a command.
type downCommand struct {
	Seq   *uint64         `json:"seq"`
	Tag   *string         `json:"tag"`
	Value json.RawMessage `json:"value"`
}

// maxCommand bounds the payload of a command, in bytes.
const maxCommand = 64 << 10

// maxPacket is the largest packet that we ask a broker to send: a command with its
// topic and properties. The broker drops what is larger, so that nobody who may
// publish commands can fill our memory.
const maxPacket = maxCommand + 3<<16

// parseCommand reads {"seq": 123, "tag": "plantA.setpoint", "value": 42.0}: all
// three keys, no others, the value a number, a boolean or a string.
func parseCommand(payload []byte) (seq uint64, tag string, value frame.Value, err error) {
	if len(payload) > maxCommand {
		return 0, "", value, fmt.Errorf("payload of %d bytes; at most %d are read", len(payload), maxCommand)
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	var c downCommand
	if err := dec.Decode(&c); err != nil {
		return 0, "", value, fmt.Errorf("payload: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return 0, "", value, errors.New("payload: something follows the command")
	}
	switch {
	case c.Seq == nil:
		return 0, "", value, errors.New("key seq is missing")
	case c.Tag == nil || *c.Tag == "" || utf8.RuneCountInString(*c.Tag) > 128:
		return *c.Seq, "", value, errors.New("key tag: expected a tag of 1 to 128 characters")
	case c.Value == nil:
		return *c.Seq, *c.Tag, value, errors.New("key value is missing")
	}
	value, err = frame.ParseJSONValue(c.Value)
	if err == nil && (value.IsNone() || value.Kind() == frame.KindObject) {
		err = errors.New("value: expected a number, a boolean or a string")
	}
	return *c.Seq, *c.Tag, value, err
}

// commandState is how far a command has come. It is stored before the step after
// it is taken.
type commandState string

const (
	commandLogged  commandState = "logged"  // and not executed
	commandStarted commandState = "started" // perhaps executed
	commandDone    commandState = "done"    // there is a result
)

// commandRecord is a command that has been accepted, from its logging until it
// is older than the window in which its repeats are dropped.
type commandRecord struct {
	ID          string          `json:"id"`
	State       commandState    `json:"state"`
	Seq         uint64          `json:"seq"`
	Tag         string          `json:"tag"`
	Value       json.RawMessage `json:"value"`
	Topic       string          `json:"topic"`
	Reply       string          `json:"reply"`
	Correlation []byte          `json:"correlation,omitempty"`
	Received    time.Time       `json:"received"`
	Expires     time.Time       `json:"expires,omitzero"`
	Result      *commandReply   `json:"result,omitempty"`
	Replied     bool            `json:"replied,omitempty"`
}

// commandReply is the payload of an answer.
type commandReply struct {
	Gateway  string          `json:"gw"`
	Seq      uint64          `json:"seq"`
	Tag      string          `json:"tag"`
	Result   string          `json:"result"` // ok, error, unknown
	Reason   string          `json:"reason,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"` // read back from the device
	TS       int64           `json:"ts"`              // when the device confirmed it or it failed, Unix milliseconds
	Received int64           `json:"received"`        // when the gateway got the command, Unix milliseconds
}

// commandID names a command: repeats have the same.
func commandID(p *paho.Publish, seq uint64) string {
	if p.Properties != nil && len(p.Properties.CorrelationData) > 0 {
		return "correlation:" + hex.EncodeToString(p.Properties.CorrelationData)
	}
	return fmt.Sprintf("topic:%s#%d", p.Topic, seq)
}

// key is the record's key: ids are as long as their sender likes.
func (r *commandRecord) key() string {
	sum := sha256.Sum256([]byte(r.ID))
	return keyCommand + hex.EncodeToString(sum[:16])
}

func (r *commandRecord) put() (bus.Record, error) { return put(r.key(), r, bus.Range{}) }

// command returns r as the gateway's own type.
func (r *commandRecord) command() (frame.Command, error) {
	v, err := frame.ParseJSONValue(r.Value)
	return frame.Command{ID: r.ID, Tag: r.Tag, Value: v, Seq: r.Seq, Source: "mqtt:" + r.Topic, Received: r.Received, Expires: r.Expires}, err
}

// reply returns the payload for a result.
func (r *commandRecord) reply(gateway string, res frame.CommandResult) *commandReply {
	out := &commandReply{Gateway: gateway, Seq: r.Seq, Tag: r.Tag, Result: "ok", Reason: res.Reason, Received: r.Received.UnixMilli(),
		TS: time.Unix(0, res.TS).UnixMilli()}
	if !res.OK {
		out.Result = "error"
		if res.Unknown {
			out.Result = "unknown"
		}
		if out.Reason == "" {
			out.Reason = "no reason was given"
		}
	}
	if res.TS == 0 {
		out.TS = time.Now().UnixMilli()
	}
	if !res.ReadBack.IsNone() {
		out.Value = res.ReadBack.AppendJSON(nil)
	}
	return out
}
