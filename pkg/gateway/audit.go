package gateway

import (
	"path/filepath"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/audit"
)

// auditFile of data_dir holds the end of the chain of audit records.
const auditFile = "audit.chain"

func newAuditChain(dataDir string) *audit.Chain {
	return audit.NewChain(filepath.Join(dataDir, auditFile))
}

// audit writes what was changed through the admin socket to the log and, as a
// frame, to whoever consumes the data.
func (g *Gateway) audit(r admin.AuditRecord) {
	object := map[string]any{
		"time": r.Time.UTC(), "method": r.Method, "user": r.User, "uid": r.Peer.UID, "request": r.Request, "code": r.Code, "error": r.Error,
	}
	err := g.chain.Record(object, func() error { return g.bus.PublishSys(audit.Tag, object) })
	g.log.Info("audit", "method", r.Method, "user", r.User, "uid", r.Peer.UID, "pid", r.Peer.PID, "request", r.Request, "code", r.Code, "error", r.Error,
		"n", object["n"], "prev", object["prev"], "hash", object["hash"])
	if err != nil {
		g.log.Error("an audit record could not be chained or reported upstream", "error", err)
	}
}
