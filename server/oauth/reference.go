package oauth

import (
	"context"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
)

// Refusal is what there is to know about the request that is refused.
func (h *Handler) Refusal(ctx context.Context, code string, cause refusals.Cause, facts refusals.Facts) refusals.Refusal {
	trail := TrailOf(ctx)
	if facts.Session == (grants.ID{}) && trail.Session != "" {
		// Zero for what is no id: there is none then.
		facts.Session, _ = grants.ParseID(trail.Session)
	}
	return refusals.Refusal{
		At: h.Now(), Request: trail.Request, Route: trail.Route, Code: code, Cause: cause,
		Client: trail.Client, GrantType: trail.Grant, Address: trail.Address, Facts: facts,
	}
}

// Reference is what the answer carries of a refusal: grantor explain reads it. It is ""
// when there is no randomness to seal it with; the answer goes out all the same.
func (h *Handler) Reference(r refusals.Refusal) string {
	text, err := h.References.Seal(h.Rand, r)
	if err != nil {
		return ""
	}
	return text
}
