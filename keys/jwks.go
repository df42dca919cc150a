package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// jwk is the public key as RFC 7517 section 4 writes it.
func jwk(k Key, members string) string {
	return `{` + members + `,"kid":"` + k.ID + `","use":"sig","alg":"` + k.Algorithm + `"}`
}

// JWKS is the document of all published keys (RFC 7517 section 5) and its strong
// entity tag. The same keys always give the same bytes, on every replica.
func (s *Set) JWKS(now time.Time) (body []byte, etag string, err error) {
	body = append(body, `{"keys":[`...)
	for _, e := range s.keys {
		if e.state(now) == Gone {
			continue
		}
		if body[len(body)-1] == '}' {
			body = append(body, ',')
		}
		body = append(body, e.jwk...)
	}
	body = append(body, `]}`...)
	sum := sha256.Sum256(body)
	return body, `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`, nil
}
