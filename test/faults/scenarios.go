package faults

// Scenario is one way in which things go wrong.
type Scenario struct {
	Name string // as EDGE_FAULTS's rows and the table have it
	Done string // what is done to the gateway
	Of   string // what the row counts
	Test string // where it is
}

// Scenarios lists all of them, in the order of the table.
func Scenarios() []Scenario {
	return []Scenario{
		{"kill-log", "kill -9 of log and bus at any moment", "frames", "test/crash TestKill9"},
		{"kill-delivery", "kill -9 of log and connector, connections cut, broker restarted", "frames", "test/mqtt TestKill"},
		{"kill-gateway", "kill -9 of the gateway that polls and delivers", "frames", "test/e2e TestKilledUnderLoad"},
		{"kill-start", "kill -9 at each step of a start", "frames", "test/e2e TestKilledInStart"},
		{"kill-seeding", "kill -9 while an empty config center is filled", "starts", "test/e2e TestKilledInSeeding"},
		{"kill-push", "kill -9 of those who push", "commits", "test/center TestWritersKilled"},
		{"kill-etcd", "kill -9 of the embedded config center amid pushes", "commits", "test/center TestServerKilled"},
		{"kill-apply", "kill -9 in every phase of apply and rollback", "frames", "test/apply TestKilledAtEveryPhase"},
		{"kill-backup", "kill -9 of edge-gw backup", "frames", "test/e2e TestKilledTools"},
		{"kill-restore", "kill -9 of edge-gw restore", "frames", "test/e2e TestKilledTools"},
		{"kill-migrate", "kill -9 of edge-gw migrate", "frames", "test/e2e TestKilledTools"},
		{"kill-replay", "kill -9 of edge-bus replay", "frames", "test/e2e TestKilledTools"},
		{"kill-gc", "kill -9 of edge-bus gc", "frames", "test/e2e TestKilledTools"},
		{"kill-import", "kill -9 of edge-bus import", "frames", "test/e2e TestKilledTools"},
		{"power-write", "power cut at every k-th write, a random part of what was not synced lost", "frames", "pkg/wal TestCrashAtEveryWrite"},
		{"power-tail", "power cut with sectors of the tail old and new", "frames", "pkg/wal TestTailCrash"},
		{"power-repair", "power cut at every write of a repair", "frames", "pkg/wal TestCrashInRepair"},
		{"disk-full", "disk filled to the last byte by another program", "frames", "test/crash TestRealFullDisk"},
		{"disk-read-only", "disk remounted read-only", "frames", "test/e2e TestReadOnlyDisk"},
		{"disk-errors", "each write fails in turn, once or for good", "frames", "pkg/wal TestErrorAtEveryWrite"},
		{"disk-lies", "power cut of a disk that confirms syncs and keeps the later write", "frames", "pkg/wal TestLyingSync"},
		{"disk-forgets", "disk put back to an earlier state", "frames", "test/e2e TestDiskPutBack"},
		{"broker-away", "broker gone for 30 s", "frames", "test/e2e TestBrokerAway"},
		{"broker-hour", "broker gone for an hour's frames", "frames", "test/e2e TestHourAway"},
		{"broker-restarts", "broker restarted again and again", "frames", "test/mqtt TestBrokerRestarts"},
		{"broker-cuts", "network cut at any packet, both sides restarted", "frames", "test/mqtt TestRandomCuts"},
		{"broker-slow", "broker takes 250 ms for a message", "frames", "test/mqtt TestSlowIsNotUnanswered"},
		{"broker-half-open", "broker answers pings and leaves exchanges open", "frames", "test/mqtt TestUnanswered"},
		{"broker-black-hole", "packets vanish, the connection stays", "frames", "test/mqtt Test_disconnect"},
		{"plc-dead", "PLC away and back", "frames", "test/e2e TestPLCAway"},
		{"plc-dead-100", "one PLC of a hundred dead", "polls", "test/modbus TestOneDeadAmong100"},
		{"plc-slow", "PLC answers later than its cycle", "frames", "test/e2e TestRudePLC"},
		{"plc-flapping", "PLC hangs up again and again", "frames", "test/e2e TestRudePLC"},
		{"plc-lying", "answers late, lost, doubled, of another unit, noise", "values", "pkg/driver/modbus TestLineKeepsItsAccounts"},
		{"etcd-gone", "config center lost in every phase of an apply", "frames", "test/apply TestEtcdLostAtEveryPhase"},
		{"etcd-leader", "leader of three killed again and again amid pushes", "commits", "test/center TestLeaderKilled"},
		{"etcd-compacted", "history compacted past a gateway that was off", "commits", "pkg/center TestBootFromCache"},
		{"etcd-old", "cluster restored from an old backup", "commits", "pkg/center TestRestoredCluster"},
		{"etcd-full", "config center out of space (NOSPACE)", "commits", "test/center TestNoSpace"},
		{"documents-random", "random good configurations, one in eight with a dead PLC", "frames", "test/apply TestRandomPushes"},
		{"documents-mutated", "mutated documents pushed past the checks", "frames", "test/apply TestMutatedDocuments"},
		{"descriptors", "file descriptors exhausted", "frames", "test/e2e TestNoDescriptors"},
		{"memory", "64 MiB of memory for everything, broker away and back", "frames", "test/e2e TestLittleMemory"},
		{"stopped", "SIGSTOP for a minute", "frames", "test/e2e TestStopped"},
		{"dead-endpoints", "10,000 dead endpoints beside a PLC that works", "polls", "test/e2e TestDeadEndpoints"},
	}
}

// find returns the scenario with a name.
func find(name string) (Scenario, bool) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}
