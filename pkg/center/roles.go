package center

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Kind is what an etcd user is for.
type Kind string

// The kinds of users. A user's name is the common name of the client's certificate; there
// are no passwords.
const (
	KindGateway  Kind = "gateway"  // reads the documents of its prefix, and writes the keys of its own status
	KindViewer   Kind = "viewer"   // reads everything of the prefix and of its gateways
	KindOperator Kind = "operator" // writes it too
)

// maxName is how long a certificate's common name may be (X.509).
const maxName = 64

// RoleStep is one change of etcd's users, roles and keys. Its String is the command that
// does it.
type RoleStep struct {
	args []string
	// done says that the step was done before.
	done error
	do   func(context.Context, *clientv3.Client) error
}

// String returns the step as a command of etcd's own tool.
func (s RoleStep) String() string {
	out := "etcdctl"
	for _, a := range s.args {
		if strings.ContainsFunc(a, func(r rune) bool { return !plainRune(r) }) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out += " " + a
	}
	return out
}

// plainRune reports whether a shell takes r as it is.
func plainRune(r rune) bool {
	return r == '-' || r == '_' || r == '.' || r == '/' || r == ':' || r == '@' ||
		r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// The roles of a prefix have its hash in their names: one cluster serves several prefixes,
// and no role of one reaches another.
func (k keyspace) role(kind Kind) string {
	if kind == KindGateway {
		return k.hash + "-gw"
	}
	return k.hash + "-" + string(kind)
}

func (k keyspace) gatewayRole(gw string) string { return k.role(KindGateway) + "-" + gw }

// rolesOf lists the roles of a user. A gateway has what all share, and its own.
func (k keyspace) rolesOf(kind Kind, name string) []string {
	if kind == KindGateway {
		return []string{k.role(kind), k.gatewayRole(name)}
	}
	return []string{k.role(kind)}
}

// EnrollSteps are the changes that make users of a kind, and the roles of the prefix where
// they are missing. All roles come first: etcd works out every user's rights anew with
// each change, and that takes longer the more users have roles.
func EnrollSteps(prefix string, kind Kind, names []string) ([]RoleStep, error) {
	keys, err := newKeyspace(prefix)
	if err == nil {
		err = checkNames(kind, names)
	}
	if err != nil {
		return nil, err
	}
	var steps []RoleStep
	role := func(name string, perm clientv3.PermissionType, ranges, single []string) {
		steps = append(steps, roleAdd(name))
		for _, key := range ranges {
			steps = append(steps, grant(name, perm, key, clientv3.GetPrefixRangeEnd(key)))
		}
		for _, key := range single {
			steps = append(steps, grant(name, perm, key, ""))
		}
	}
	read, write := clientv3.PermissionType(clientv3.PermRead), clientv3.PermissionType(clientv3.PermReadWrite)
	everything := []string{keys.prefix + "/", keys.fleet()}
	role(keys.role(KindGateway), read, append([]string{keys.documents(), keys.releases(), keys.rollouts()}, keys.votes()...), []string{keys.commit()})
	role(keys.role(KindViewer), read, everything, nil)
	role(keys.role(KindOperator), write, everything, nil)
	if kind == KindGateway {
		for _, name := range names {
			role(keys.gatewayRole(name), write, nil, keys.writes(name))
			steps = append(steps, grant(keys.gatewayRole(name), read, keys.record(name), ""))
		}
	}
	for _, name := range names {
		steps = append(steps, userAdd(name))
		for _, r := range keys.rolesOf(kind, name) {
			steps = append(steps, userGrant(name, r))
		}
	}
	return steps, nil
}

// RevokeSteps are the changes that remove users, and of gateways their roles and what they
// wrote: in this order, so that a gateway can't write it again.
func RevokeSteps(prefix string, kind Kind, names []string) ([]RoleStep, error) {
	keys, err := newKeyspace(prefix)
	if err == nil {
		err = checkNames(kind, names)
	}
	if err != nil {
		return nil, err
	}
	var steps []RoleStep
	for _, name := range names {
		steps = append(steps, userDelete(name))
	}
	if kind != KindGateway {
		return steps, nil
	}
	for _, name := range names {
		steps = append(steps, roleDelete(keys.gatewayRole(name)))
		for _, key := range append(keys.own(name), keys.record(name), keys.oldStatus(name), keys.oldAlive(name), keys.oldRetry(name)) {
			steps = append(steps, keyDelete(key))
		}
	}
	return steps, nil
}

// checkNames refuses names that can't be users, or would be somebody else.
func checkNames(kind Kind, names []string) error {
	if !slices.Contains([]Kind{KindGateway, KindViewer, KindOperator}, kind) {
		return fmt.Errorf("%q: expected gateway, viewer or operator", kind)
	}
	for _, name := range names {
		switch {
		case name == "root":
			return errors.New("root is etcd's administrator; choose another name")
		case name == "" || len(name) > maxName:
			return fmt.Errorf("%q: a certificate's common name has 1 to %d bytes", name, maxName)
		case kind == KindGateway && !config.ValidKey(name):
			return fmt.Errorf("%q is not a gateway_id: expected letters, digits, _ and -", name)
		case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return fmt.Errorf("%q has control characters", name)
		}
	}
	return nil
}

// Enroll makes users of a kind with the rights that [EnrollSteps] lists. Doing it twice does
// no harm. Documents that the last version wrote are copied to where the new roles reach.
func (s *Store) Enroll(ctx context.Context, kind Kind, names []string) error {
	steps, err := EnrollSteps(s.keys.prefix, kind, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.checkUser(ctx, kind, name); err != nil {
			return err
		}
	}
	if err := s.change(ctx, steps); err != nil {
		return err
	}
	return s.copyDocuments(ctx)
}

// Revoke removes users as [RevokeSteps] says. A connection that is open stays so: etcd
// checks rights when a watch is made, and the watched key holds no tables but small changes.
func (s *Store) Revoke(ctx context.Context, kind Kind, names []string) error {
	steps, err := RevokeSteps(s.keys.prefix, kind, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.checkUser(ctx, kind, name); err != nil {
			return err
		}
	}
	return s.change(ctx, steps)
}

// checkUser refuses a name that is somebody else's already: what that one may is not for
// this prefix to change.
func (s *Store) checkUser(ctx context.Context, kind Kind, name string) error {
	resp, err := s.etcd.UserGet(ctx, name)
	if errors.Is(err, rpctypes.ErrUserNotFound) {
		return nil
	}
	if err != nil {
		return s.classify("look for the user "+name, err)
	}
	for _, role := range resp.Roles {
		if !slices.Contains(s.keys.rolesOf(kind, name), role) {
			return fmt.Errorf("the etcd user %q has the role %q already: it is not a %s of %s; choose another name", name, role, kind, s.keys.prefix)
		}
	}
	return nil
}

// change does the steps. A change that was made before is no error.
func (s *Store) change(ctx context.Context, steps []RoleStep) error {
	for _, step := range steps {
		if err := step.do(ctx, s.etcd); err != nil && (step.done == nil || !errors.Is(err, step.done)) {
			return s.classify(step.String(), err)
		}
	}
	return nil
}

// copyDocuments copies the documents of the kept releases that are only where the last
// version wrote them.
func (s *Store) copyDocuments(ctx context.Context) error {
	log, err := s.Log(ctx, s.cfg.KeepReleases)
	if err != nil {
		return err
	}
	for _, c := range log {
		if c.Fleet() { // the last version wrote none
			continue
		}
		resp, err := s.get(ctx, "look for a document", s.keys.document(c.SHA256).header(), clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		if resp.Count > 0 {
			continue
		}
		doc, err := s.fetch(ctx, c.SHA256)
		if errors.Is(err, ErrNotKept) || errors.Is(err, ErrDamaged) {
			continue // the doctor's business
		}
		if err != nil {
			return err
		}
		p, err := s.plan(Version{Commit: c, Doc: doc}, doc, PushOptions{})
		if err != nil {
			return err
		}
		ops := s.documentOps(p) // the header is the first, and the last to be written
		for _, op := range append(ops[1:], ops[0]) {
			if _, err := s.commit(ctx, "copy a document", txn{then: []clientv3.Op{op}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func roleAdd(name string) RoleStep {
	return RoleStep{args: []string{"role", "add", name}, done: rpctypes.ErrRoleAlreadyExist,
		do: func(ctx context.Context, c *clientv3.Client) error { _, err := c.RoleAdd(ctx, name); return err }}
}

func roleDelete(name string) RoleStep {
	return RoleStep{args: []string{"role", "delete", name}, done: rpctypes.ErrRoleNotFound,
		do: func(ctx context.Context, c *clientv3.Client) error { _, err := c.RoleDelete(ctx, name); return err }}
}

func userAdd(name string) RoleStep {
	return RoleStep{args: []string{"user", "add", name, "--no-password"}, done: rpctypes.ErrUserAlreadyExist,
		do: func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.UserAddWithOptions(ctx, name, "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		}}
}

func userDelete(name string) RoleStep {
	return RoleStep{args: []string{"user", "delete", name}, done: rpctypes.ErrUserNotFound,
		do: func(ctx context.Context, c *clientv3.Client) error { _, err := c.UserDelete(ctx, name); return err }}
}

func userGrant(name, role string) RoleStep {
	return RoleStep{args: []string{"user", "grant-role", name, role},
		do: func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.UserGrantRole(ctx, name, role)
			return err
		}}
}

// grant gives a role a key, or all keys that begin so where end is not "".
func grant(role string, perm clientv3.PermissionType, key, end string) RoleStep {
	name := map[clientv3.PermissionType]string{
		clientv3.PermissionType(clientv3.PermRead): "read", clientv3.PermissionType(clientv3.PermReadWrite): "readwrite",
	}[perm]
	args := []string{"role", "grant-permission", role, name, key}
	if end != "" {
		args = slices.Insert(args, 2, "--prefix")
	}
	return RoleStep{args: args, do: func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.RoleGrantPermission(ctx, role, key, end, perm)
		return err
	}}
}

func keyDelete(key string) RoleStep {
	return RoleStep{args: []string{"del", key},
		do: func(ctx context.Context, c *clientv3.Client) error { _, err := c.Delete(ctx, key); return err }}
}
