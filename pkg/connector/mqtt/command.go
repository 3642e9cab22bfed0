package mqtt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
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

// The bounds of what a sender chooses, in bytes, and of what he is answered.
const (
	maxCorrelation = 1 << 10
	maxTopic       = 1 << 10
	maxReason      = 1 << 10
	maxReadBack    = 16 << 10 // a longer value is left out of the answer
)

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
	if err == nil && (value.IsNone() || value.Kind() == frame.KindObject || value.Kind() == frame.KindArray) {
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
// is older than the window in which its repeats are dropped. Once it is answered, no
// more of it is kept than is needed to recognise a repeat and to answer it.
type commandRecord struct {
	ID          string          `json:"id"`
	Hash        string          `json:"hash,omitempty"` // of what is to be written; see content
	State       commandState    `json:"state"`
	Seq         uint64          `json:"seq"`
	Tag         string          `json:"tag"`
	Value       json.RawMessage `json:"value,omitempty"`
	Topic       string          `json:"topic,omitempty"`
	Reply       string          `json:"reply,omitempty"`
	Correlation []byte          `json:"correlation,omitempty"`
	Received    time.Time       `json:"received"`
	Expires     time.Time       `json:"expires,omitzero"`
	Result      *commandReply   `json:"result,omitempty"`
	Replied     bool            `json:"replied,omitempty"`

	refused bool // it was turned down: nothing of it is stored
	queued  bool // its result waits to be sent
	settled bool // it was answered before
	tries   int  // connections that have ended while its result was being sent
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

// commandID names a command by what its sender chose: repeats have the same. Two
// senders may choose the same correlation data; the response topic tells them apart.
func commandID(p *paho.Publish, seq uint64) string {
	if p.Properties != nil && len(p.Properties.CorrelationData) > 0 {
		return digest("correlation", p.Topic, p.Properties.ResponseTopic, string(p.Properties.CorrelationData))
	}
	return digest(fmt.Sprintf("topic:%s#%d", p.Topic, seq))
}

// content names what a command is to do: a repeat has the same, and what has another
// under the same id is no repeat.
func content(tag string, value json.RawMessage) string { return digest("write", tag, string(value)) }

// digest returns a short name for texts, however long they are.
func digest(parts ...string) string {
	h := sha256.New()
	for i, p := range parts {
		if i > 0 {
			fmt.Fprintf(h, "\x00%d:", len(p)) // a hash takes everything
		}
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (r *commandRecord) key() string { return keyCommand + r.ID }

func (r *commandRecord) put() (bus.Record, error) { return put(r.key(), r, bus.Range{}) }

// settle drops what is not needed to recognise and answer a repeat.
func (r *commandRecord) settle() {
	r.Replied, r.settled = true, true
	r.Value, r.Topic, r.Reply, r.Correlation, r.Expires, r.tries = nil, "", "", nil, time.Time{}, 0
	r.Result.Reason = cut(r.Result.Reason, 256)
	if len(r.Result.Value) > 64 {
		r.Result.Value = nil
	}
}

// cut shortens a text to at most n bytes and an ellipsis.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

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
		if out.Value = res.ReadBack.AppendJSON(nil); len(out.Value) > maxReadBack {
			out.Value = nil
		}
	}
	out.Reason = cut(out.Reason, maxReason)
	return out
}
