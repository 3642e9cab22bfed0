package admin

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Role is what a user may do on the socket. Each includes those before it.
type Role int

// The roles.
const (
	RoleNone     Role = iota
	RoleView          // look at everything, secrets excepted
	RoleOperate       // drivers, connectors, probes, traces, reloads
	RoleWrite         // write to devices, import frames
	RoleMaintain      // settings, rollbacks, what deletes
)

var roleNames = [...]string{"no role", "view", "operate", "write", "maintain"}

// String returns the role's name in gateway.yml.
func (r Role) String() string { return roleNames[r] }

// Roles names who has which role: "user:NAME", "group:NAME", or the number of either.
// Without any, whoever may open the socket may do everything. Root and the gateway's own
// user always may.
type Roles struct {
	View, Operate, Write, Maintain []string
}

func (r *Roles) list() map[Role][]string {
	return map[Role][]string{RoleView: r.View, RoleOperate: r.Operate, RoleWrite: r.Write, RoleMaintain: r.Maintain}
}

// grants are roles resolved to numbers.
type grants struct {
	everybody bool
	users     map[uint32]Role
	groups    map[string]Role // by number
}

// resolve looks the names up.
func (r *Roles) resolve() (*grants, error) {
	g := &grants{everybody: true, users: map[uint32]Role{}, groups: map[string]Role{}}
	for role, names := range r.list() {
		for _, text := range names {
			g.everybody = false
			kind, name, _ := strings.Cut(text, ":")
			var err error
			switch kind {
			case "user":
				err = g.user(name, role)
			case "group":
				var id int
				if id, err = groupID(name); err == nil {
					key := strconv.Itoa(id)
					g.groups[key] = max(g.groups[key], role)
				}
			default:
				err = fmt.Errorf("expected user:NAME or group:NAME")
			}
			if err != nil {
				return nil, fmt.Errorf("admin.roles.%s: %q: %w", role, text, err)
			}
		}
	}
	return g, nil
}

func (g *grants) user(name string, role Role) error {
	text := name
	if _, err := strconv.ParseUint(name, 10, 32); err != nil {
		u, err := user.Lookup(name)
		if err != nil {
			return err
		}
		text = u.Uid
	}
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return err
	}
	g.users[uint32(id)] = max(g.users[uint32(id)], role)
	return nil
}

// roleOf returns the highest role of a peer.
func (g *grants) roleOf(p Peer) Role {
	if g.everybody || p.UID == 0 || p.UID == uint32(os.Geteuid()) {
		return RoleMaintain
	}
	role := max(g.users[p.UID], g.groups[strconv.FormatUint(uint64(p.GID), 10)])
	if u, err := user.LookupId(strconv.FormatUint(uint64(p.UID), 10)); err == nil {
		ids, _ := u.GroupIds() // none that are known
		for _, id := range ids {
			role = max(role, g.groups[id])
		}
	}
	return role
}

// needed returns the role that a method needs. One that changes something and is not
// listed needs the highest.
func needed(name string, mutates bool) Role {
	switch {
	case slices.Contains([]string{"WriteTag", "Import"}, name):
		return RoleWrite
	case slices.Contains([]string{
		"PauseDriver", "ResumeDriver", "RestartDriver", "DiagnoseDriver", "AskEndpoint", "TestConnector",
		"ReconnectConnector", "PauseConnector", "ResumeConnector", "Flush", "RetryParked", "ReplayTo", "TraceEndpoint",
		"SetLogLevel", "ReloadConfig", "GetProfile", "GetBundle",
	}, name):
		return RoleOperate
	case mutates:
		return RoleMaintain
	}
	return RoleView
}

// neededBy returns the role that a request needs whatever its method does: one that may
// delete needs the highest.
func neededBy(request any) Role {
	if r, ok := request.(interface{ GetAllowDelete() bool }); ok && r.GetAllowDelete() {
		return RoleMaintain
	}
	return RoleNone
}

// allow returns why a caller may not call a method.
func allow(who Peer, name string, need Role) error {
	if who.role >= need {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, "%s needs the role %s, and user %s has %s: admin.roles in gateway.yml names who has which",
		name, need, userName(who.UID), who.role)
}
