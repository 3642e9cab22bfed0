package admin

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// TestEveryMethodNeedsARole: what changes something can't be had with view, and nothing
// is open to who has no role.
func TestEveryMethodNeedsARole(t *testing.T) {
	seen := map[Role]int{}
	for name, m := range methodsOf(apiFiles()...) {
		seen[m.needs]++
		if m.needs == RoleNone || m.mutates && m.needs == RoleView {
			t.Errorf("%s needs %s", name, m.needs)
		}
		for role := RoleNone; role <= RoleMaintain; role++ {
			if err := allow(Peer{role: role}, m.name, m.needs); (err == nil) != (role >= m.needs) {
				t.Errorf("%s with %s: %v", name, role, err)
			}
		}
	}
	for allows, need := range map[bool]Role{false: RoleNone, true: RoleMaintain} {
		if got := neededBy(&pb.ReloadConfigRequest{AllowDelete: allows}); got != need {
			t.Errorf("a reload that allows to delete (%v) needs %s", allows, got)
		}
	}
	for _, role := range []Role{RoleView, RoleOperate, RoleWrite, RoleMaintain} {
		if seen[role] == 0 {
			t.Errorf("nothing needs %s", role)
		}
	}
}

// TestUnknownMethodNeedsMost: a method of a service that the guard's list lacks is nobody's
// but the maintainer's, and audited.
func TestUnknownMethodNeedsMost(t *testing.T) {
	audits := 0
	g := newGuard(t.Context(), Deps{Log: slog.New(slog.DiscardHandler), Audit: func(AuditRecord) { audits++ }}, nil)
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	g.metrics = m
	for full, free := range map[string]bool{"/grpc.health.v1.Health/Check": true, "/edge.admin.v1.NewService/Do": false} {
		ran := false
		err := g.call(t.Context(), full, RoleNone, g.unarySem, func() any { return nil }, func() error { ran = true; return nil })
		if (err == nil) != free || ran != free {
			t.Errorf("%s without a role: %v", full, err)
		}
	}
	if audits != 1 {
		t.Errorf("%d records of the audit, want 1", audits)
	}
}
