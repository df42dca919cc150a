package oauth

import (
	"context"
	"net/http"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/server/ui"
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

// errorPath is where the error_uri of a redirect leads.
const errorPath = "/oauth2/error"

// ErrorPage is GET /oauth2/error, the page that RFC 6749 section 4.1.2.1 calls error_uri.
// It shows the reference to whoever has it, and does not open it: why is for operators.
func (h *Handler) ErrorPage(w http.ResponseWriter, r *http.Request) error {
	query, err := ReadQuery(r)
	if err != nil {
		return err
	}
	reference, err := refusals.Find(query.Get("reference"))
	if err != nil {
		return invalidRequest("a parameter is missing or unusable")
	}
	return h.Pages.Write(w, r, ui.View{Status: http.StatusOK}, ui.Problem{Kind: ui.ProblemRefused, Reference: reference})
}
