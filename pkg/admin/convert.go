package admin

import (
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// Conversions between the plain structs and the protocol's messages. Those named
// toX make a message, those named fromX take one; a nil message is an empty one.

func each[A, B any](list []A, convert func(A) B) []B {
	out := make([]B, len(list))
	for i, a := range list {
		out[i] = convert(a)
	}
	return out
}

func toTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	// By the monotonic clock, if t has its reading: the other one may have been set
	// since, from 1970 in the worst case.
	if t != t.Round(0) {
		t = time.Now().Add(-time.Since(t))
	}
	return timestamppb.New(t)
}

func fromTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func unixTime(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func hexText(p []byte) string { return hex.EncodeToString(p) }

func toStatusMessage(s Status) *pb.GetStatusResponse {
	return &pb.GetStatusResponse{
		Gateway: s.Gateway, Tenant: s.Tenant, Device: s.Device, State: s.State,
		Started: toTime(s.Started), Pid: s.PID, Version: s.Version,
		ConfigSource: s.ConfigSource, ConfigRev: s.ConfigRev, ConfigSha256: s.ConfigSHA256, ConfigState: s.ConfigState,
		Parts: each(s.Parts, func(p PartCount) *pb.PartCount {
			return &pb.PartCount{Part: p.Part, State: p.State, Count: uint32(p.Count)}
		}),
		Problems: each(s.Problems, func(p Problem) *pb.Problem {
			return &pb.Problem{Part: p.Part, Name: p.Name, Text: p.Text, Since: toTime(p.Since), Hint: p.Hint}
		}),
	}
}

func fromStatusMessage(m *pb.GetStatusResponse) Status {
	return Status{
		Gateway: m.GetGateway(), Tenant: m.GetTenant(), Device: m.GetDevice(), State: m.GetState(),
		Started: fromTime(m.GetStarted()), PID: m.GetPid(), Version: m.GetVersion(),
		ConfigSource: m.GetConfigSource(), ConfigRev: m.GetConfigRev(), ConfigSHA256: m.GetConfigSha256(), ConfigState: m.GetConfigState(),
		Parts: each(m.GetParts(), func(p *pb.PartCount) PartCount {
			return PartCount{Part: p.GetPart(), State: p.GetState(), Count: int(p.GetCount())}
		}),
		Problems: each(m.GetProblems(), func(p *pb.Problem) Problem {
			return Problem{Part: p.GetPart(), Name: p.GetName(), Text: p.GetText(), Since: fromTime(p.GetSince()), Hint: p.GetHint()}
		}),
	}
}

func toEndpoint(e Endpoint) *pb.Endpoint {
	return &pb.Endpoint{
		Id: e.ID, Url: e.URL, State: e.State, Since: toTime(e.Since), Error: e.Error,
		Open: uint32(e.Open), InUse: uint32(e.InUse), Max: uint32(e.Max), Reconnects: e.Reconnects, Drivers: e.Drivers,
	}
}

func fromEndpoint(m *pb.Endpoint) Endpoint {
	return Endpoint{
		ID: m.GetId(), URL: m.GetUrl(), State: m.GetState(), Since: fromTime(m.GetSince()), Error: m.GetError(),
		Open: int(m.GetOpen()), InUse: int(m.GetInUse()), Max: int(m.GetMax()), Reconnects: m.GetReconnects(),
		Drivers: each(m.GetDrivers(), func(s string) string { return s }),
	}
}

func toDriver(d Driver) *pb.Driver {
	return &pb.Driver{
		Id: d.ID, Kind: d.Kind, Proto: d.Proto, Endpoint: d.Endpoint, State: d.State, Since: toTime(d.Since), Error: d.Error,
		Points: uint32(d.Points), Polls: d.Polls, Errors: d.Errors, Overruns: d.Overruns,
		FirstRead: toTime(d.FirstRead), LastRead: toTime(d.LastRead),
		Bad: uint32(d.Bad), Retries: d.Retries, Cycles: d.Cycles, LastError: d.LastError, LastErrorAt: toTime(d.LastErrorAt),
		LatencyP50Ms: d.LatencyP50Ms, LatencyP99Ms: d.LatencyP99Ms,
		LastMinute: &pb.DriverMinute{
			Cycles: d.LastMinute.Cycles, Overruns: d.LastMinute.Overruns, Polls: d.LastMinute.Polls,
			Errors: d.LastMinute.Errors, Retries: d.LastMinute.Retries,
		},
	}
}

func fromDriver(m *pb.Driver) Driver {
	return Driver{
		ID: m.GetId(), Kind: m.GetKind(), Proto: m.GetProto(), Endpoint: m.GetEndpoint(), State: m.GetState(),
		Since: fromTime(m.GetSince()), Error: m.GetError(), Points: int(m.GetPoints()), Polls: m.GetPolls(),
		Errors: m.GetErrors(), Overruns: m.GetOverruns(), FirstRead: fromTime(m.GetFirstRead()), LastRead: fromTime(m.GetLastRead()),
		Bad: int(m.GetBad()), Retries: m.GetRetries(), Cycles: m.GetCycles(), LastError: m.GetLastError(),
		LastErrorAt: fromTime(m.GetLastErrorAt()), LatencyP50Ms: m.GetLatencyP50Ms(), LatencyP99Ms: m.GetLatencyP99Ms(),
		LastMinute: DriverMinute{
			Cycles: m.GetLastMinute().GetCycles(), Overruns: m.GetLastMinute().GetOverruns(), Polls: m.GetLastMinute().GetPolls(),
			Errors: m.GetLastMinute().GetErrors(), Retries: m.GetLastMinute().GetRetries(),
		},
	}
}

func toTag(t *Tag) *pb.Tag {
	return &pb.Tag{
		Name: t.Name, Driver: t.Driver, Unit: t.Unit, Access: t.Access, Datatype: t.Datatype, Address: t.Address,
		Known: t.Known, Value: toValue(t.Value), Quality: toQuality(t.Quality), TsNs: t.TS, Frames: t.Frames,
		Reason: t.Reason, Hint: t.Hint, ReasonSince: toTime(t.ReasonSince),
	}
}

func fromTag(m *pb.Tag) Tag {
	return Tag{
		Name: m.GetName(), Driver: m.GetDriver(), Unit: m.GetUnit(), Access: m.GetAccess(), Datatype: m.GetDatatype(),
		Address: m.GetAddress(), Known: m.GetKnown(), Value: fromValue(m.GetValue()), Quality: fromQuality(m.GetQuality()),
		TS: m.GetTsNs(), Frames: m.GetFrames(),
		Reason: m.GetReason(), Hint: m.GetHint(), ReasonSince: fromTime(m.GetReasonSince()),
	}
}

func toBusStats(s BusStats) *pb.GetBusStatsResponse {
	return &pb.GetBusStatsResponse{
		Epoch: s.Epoch, FirstSeq: s.FirstSeq, LastSeq: s.LastSeq, DurableSeq: s.DurableSeq, RingUsed: s.RingUsed,
		RingSize: s.RingSize, WalBytes: s.WALBytes, WalMaxBytes: s.WALMaxBytes, DiskBytes: s.DiskBytes, FreeBytes: s.FreeBytes,
		WriteAmplification: s.WriteAmplification, Overflow: s.Overflow, Paused: s.Paused, DiskFull: s.DiskFull,
		Consumers: each(s.Consumers, func(c Consumer) *pb.BusConsumer {
			return &pb.BusConsumer{Name: c.Name, AckSeq: c.AckSeq, Lag: c.Lag, Parked: c.Parked, ParkedSince: toTime(c.ParkedSince)}
		}),
	}
}

func fromBusStats(m *pb.GetBusStatsResponse) BusStats {
	return BusStats{
		Epoch: m.GetEpoch(), FirstSeq: m.GetFirstSeq(), LastSeq: m.GetLastSeq(), DurableSeq: m.GetDurableSeq(),
		RingUsed: m.GetRingUsed(), RingSize: m.GetRingSize(), WALBytes: m.GetWalBytes(), WALMaxBytes: m.GetWalMaxBytes(),
		DiskBytes: m.GetDiskBytes(), FreeBytes: m.GetFreeBytes(), WriteAmplification: m.GetWriteAmplification(),
		Overflow: m.GetOverflow(), Paused: m.GetPaused(), DiskFull: m.GetDiskFull(),
		Consumers: each(m.GetConsumers(), func(c *pb.BusConsumer) Consumer {
			return Consumer{Name: c.GetName(), AckSeq: c.GetAckSeq(), Lag: c.GetLag(), Parked: c.GetParked(), ParkedSince: fromTime(c.GetParkedSince())}
		}),
	}
}

func toConnector(c Connector) *pb.Connector {
	return &pb.Connector{
		Name: c.Name, Kind: c.Kind, State: c.State, Since: toTime(c.Since), Error: c.Error, Peer: c.Peer,
		Reconnects: c.Reconnects, Inflight: uint32(c.Inflight), OutBytes: c.OutBytes, OutMessages: c.OutMessages,
		OutFrames: c.OutFrames, Resent: c.Resent, Refused: c.Refused, BatchFramesP50: c.BatchFramesP50,
		BatchFramesP95: c.BatchFramesP95, RttAvgMs: c.RTTAvgMs, RttP95Ms: c.RTTP95Ms, AckSeq: c.AckSeq, Lag: c.Lag,
	}
}

func fromConnector(m *pb.Connector) Connector {
	return Connector{
		Name: m.GetName(), Kind: m.GetKind(), State: m.GetState(), Since: fromTime(m.GetSince()), Error: m.GetError(),
		Peer: m.GetPeer(), Reconnects: m.GetReconnects(), Inflight: int(m.GetInflight()), OutBytes: m.GetOutBytes(),
		OutMessages: m.GetOutMessages(), OutFrames: m.GetOutFrames(), Resent: m.GetResent(), Refused: m.GetRefused(),
		BatchFramesP50: m.GetBatchFramesP50(), BatchFramesP95: m.GetBatchFramesP95(), RTTAvgMs: m.GetRttAvgMs(),
		RTTP95Ms: m.GetRttP95Ms(), AckSeq: m.GetAckSeq(), Lag: m.GetLag(),
	}
}

func toConfigStatus(s ConfigStatus) *pb.ConfigStatus {
	return &pb.ConfigStatus{
		Source: s.Source, Rev: s.Rev, Sha256: s.SHA256, State: s.State, Error: s.Error, Since: toTime(s.Since),
		Endpoints: uint32(s.Endpoints), Drivers: uint32(s.Drivers), Variables: uint32(s.Variables),
	}
}

func fromConfigStatus(m *pb.ConfigStatus) ConfigStatus {
	return ConfigStatus{
		Source: m.GetSource(), Rev: m.GetRev(), SHA256: m.GetSha256(), State: m.GetState(), Error: m.GetError(),
		Since: fromTime(m.GetSince()), Endpoints: int(m.GetEndpoints()), Drivers: int(m.GetDrivers()), Variables: int(m.GetVariables()),
	}
}

func toConfigApply(a ConfigApply) *pb.ConfigApply {
	return &pb.ConfigApply{
		Rev: a.Rev, Sha256: a.SHA256, State: a.State, Error: a.Error, FailedIn: a.FailedIn, Impact: a.Impact,
		Began: toTime(a.Began), DurationMs: a.DurationMs,
	}
}

func fromConfigApply(m *pb.ConfigApply) ConfigApply {
	return ConfigApply{
		Rev: m.GetRev(), SHA256: m.GetSha256(), State: m.GetState(), Error: m.GetError(), FailedIn: m.GetFailedIn(),
		Impact: m.GetImpact(), Began: fromTime(m.GetBegan()), DurationMs: m.GetDurationMs(),
	}
}
