package admin

import (
	"testing"

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
