package oauth

import (
	"net/http"
	"strconv"
	"strings"
)

// JWKS is GET /.well-known/jwks.json: RFC 7517. It may be kept for five seconds,
// which is less than keys.Publish: a key is known everywhere before it signs. Asking
// again costs a 304.
func (h *Handler) JWKS(w http.ResponseWriter, r *http.Request) error {
	body, etag := h.Keys().JWKS(h.Now())
	header := w.Header()
	if known := r.Header.Get("If-None-Match"); known != "" && matches(known, etag) {
		SetHeaders(header, "Content-Type", "application/json", "Cache-Control", "public, max-age=5", "Etag", etag)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	// With its length, as in Metadata: after a rotation it is long.
	SetHeaders(header, "Content-Type", "application/json", "Cache-Control", "public, max-age=5", "Etag", etag, "Content-Length", strconv.Itoa(len(body)))
	// The client is gone when this fails; there is nobody to tell.
	_, _ = w.Write(body)
	return nil
}

// matches is RFC 9110 section 13.1.2: a list, or a star, compared weakly.
func matches(header, etag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == etag || candidate == "*" {
			return true
		}
	}
	return false
}
