package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/grantorhq/grantor/audit"
	"github.com/grantorhq/grantor/storage"
)

// sealInterval is how long an event may be without a seal, about.
const sealInterval = time.Second

// sayHead is how often the end of the chain is logged, if it grew: a log is kept elsewhere,
// so that whoever cuts the chain off is found out.
const sayHead = time.Minute

// sealAudit seals what was written to the audit log, until ctx ends, and then once more.
func (s *Server) sealAudit(ctx context.Context) {
	ticker := time.NewTicker(sealInterval)
	defer ticker.Stop()
	said, failing := s.deps.Now(), false
	var head, told audit.Seal
	for {
		seal, err := s.sealAll(ctx)
		s.chores.sealed(err, s.deps.Now())
		if seal.Number > 0 {
			head = seal
		}
		over := ctx.Err() != nil
		if now := s.deps.Now(); head.Number > told.Number && (over || now.Sub(said) >= sayHead) {
			s.deps.Log.InfoContext(ctx, "audit log sealed", "seal", head.Number, "hash", head.Hash.String())
			said, told = now, head
		}
		if err != nil && !failing {
			level := slog.LevelWarn
			if errors.Is(err, storage.ErrAuditCut) {
				level = slog.LevelError
			}
			s.deps.Log.Log(ctx, level, "audit log is not sealed, and will be tried again", "error", err)
		}
		if failing = err != nil; over {
			return
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// sealAll also works when ctx has ended: it is bounded by the deadlines of its statements.
func (s *Server) sealAll(ctx context.Context) (head audit.Seal, err error) {
	for events := audit.MostEvents; events == audit.MostEvents; {
		var seal audit.Seal
		if seal, events, err = s.deps.Store.SealAudit(ctx, s.auditKeys[0]); err != nil {
			return head, err
		}
		if events > 0 {
			head = seal
		}
	}
	return head, nil
}

// pruneAudit deletes what audit_retention no longer wants.
func (s *Server) pruneAudit(ctx context.Context) {
	keep := s.deps.Config.AuditRetention
	if keep == 0 {
		return
	}
	deleted, err := s.deps.Store.PruneAudit(ctx, s.deps.Now().Add(-keep), s.auditKeys[0])
	if err != nil {
		s.deps.Log.WarnContext(ctx, "audit log was not pruned", "error", err)
	}
	if deleted > 0 {
		s.deps.Log.InfoContext(ctx, "audit log pruned", "events", deleted, "older_than", keep.String())
	}
}
