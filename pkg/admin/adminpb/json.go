package adminpb

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The messages that commands print are [json.Marshaler]s, so that they may stand in
// whatever a command prints. One function writes them all; the options in show.proto
// tell what is special about a field.

// MarshalJSON writes what the commands print.
func (x *GetStatusResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *GetVersionResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *Endpoint) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *Driver) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *Fact) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *Tag) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *ReadTagResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *WriteTagResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *GetBusStatsResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *BusConsumer) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *ReplayToResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *FlushResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *CollectGarbageResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *SetBusSettingResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *CheckLogResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *GetDeliveryResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *ConsumerDelivery) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *ParkedMessage) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *Connector) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *TestStep) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *ConfigStatus) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *ConfigApply) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *WatchConfigResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *GetLogLevelResponse) MarshalJSON() ([]byte, error) { return show(x) }

// MarshalJSON writes what the commands print.
func (x *TraceEndpointResponse) MarshalJSON() ([]byte, error) { return show(x) }

// show writes m as show.proto says.
func show(m proto.Message) ([]byte, error) {
	var w shower
	err := w.message(m.ProtoReflect())
	return w.Bytes(), err
}

type shower struct{ bytes.Buffer }

func (w *shower) message(m protoreflect.Message) error {
	fields := m.Descriptor().Fields()
	head := byte('{')
	for i := range fields.Len() {
		fd := fields.Get(i)
		name, shown := shownAs(m, fd)
		if !shown {
			continue
		}
		w.WriteByte(head)
		head = ','
		w.WriteString(strconv.Quote(name) + ":")
		if err := w.field(m, fd); err != nil {
			return fmt.Errorf("%s: %w", fd.FullName(), err)
		}
	}
	if head == '{' {
		w.WriteByte('{')
	}
	w.WriteByte('}')
	return nil
}

// shownAs returns the name of a field, and whether it is shown.
func shownAs(m protoreflect.Message, fd protoreflect.FieldDescriptor) (name string, shown bool) {
	name, _ = proto.GetExtension(fd.Options(), E_ShownAs).(string)
	omit, _ := proto.GetExtension(fd.Options(), E_Omitempty).(bool)
	// Zero where nothing is known: a moment, a quality.
	omit = omit || isTime(fd) || isMoment(fd) || fd.Kind() == protoreflect.EnumKind
	if name == "" {
		name = string(fd.Name())
	}
	return name, name != "-" && (!omit || m.Has(fd))
}

func isTime(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Timestamp"
}

// isMoment reports whether fd counts nanoseconds from 1970.
func isMoment(fd protoreflect.FieldDescriptor) bool {
	return fd.Kind() == protoreflect.Int64Kind && strings.HasSuffix(string(fd.Name()), "ts_ns")
}

func (w *shower) field(m protoreflect.Message, fd protoreflect.FieldDescriptor) error {
	v := m.Get(fd)
	if !fd.IsList() {
		return w.value(fd, v)
	}
	w.WriteByte('[')
	for i := range v.List().Len() {
		if i > 0 {
			w.WriteByte(',')
		}
		if err := w.value(fd, v.List().Get(i)); err != nil {
			return err
		}
	}
	w.WriteByte(']')
	return nil
}

func (w *shower) value(fd protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch {
	case isMoment(fd):
		return w.plain(time.Unix(0, v.Int()).UTC())
	case fd.Kind() == protoreflect.BytesKind:
		return w.plain(hex.EncodeToString(v.Bytes()))
	case fd.Kind() == protoreflect.EnumKind: // there is no other
		return w.plain(Quality(v.Enum()).Frame().String())
	case fd.Message() == nil:
		return w.plain(v.Interface())
	}
	switch m := v.Message().Interface().(type) {
	case *timestamppb.Timestamp:
		return w.plain(m.AsTime())
	case *Value:
		w.Write(m.Frame().AppendJSON(nil))
		return nil
	}
	return w.message(v.Message())
}

func (w *shower) plain(v any) error {
	enc := json.NewEncoder(&w.Buffer)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.Truncate(w.Len() - 1) // the encoder's line break
	return nil
}
