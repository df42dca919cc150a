package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"time"
)

// jwk is the public key as RFC 7517 section 4 writes it.
func jwk(k Key, members string) string {
	return `{` + members + `,"kid":"` + k.ID + `","use":"sig","alg":"` + k.Algorithm + `"}`
}

// document is the JWKS of a span of time: it changes only when a key goes.
type document struct {
	from time.Time // until the next document's
	body []byte
	etag string
}

// JWKS is the document of all published keys (RFC 7517 section 5) and its strong
// entity tag. The same keys always give the same bytes, on every replica. Nobody may
// change them: they were made once.
func (s *Set) JWKS(now time.Time) (body []byte, etag string) {
	last := len(s.documents) - 1
	for last > 0 && s.documents[last].from.After(now) {
		last--
	}
	return s.documents[last].body, s.documents[last].etag
}

func (s *Set) publish() {
	turns := []time.Time{{}}
	for _, e := range s.keys {
		if !e.until.IsZero() {
			turns = append(turns, e.until.Add(Keep))
		}
	}
	slices.SortFunc(turns, time.Time.Compare)
	for _, from := range turns {
		body := s.jwks(from)
		sum := sha256.Sum256(body)
		s.documents = append(s.documents, document{from: from, body: body, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`})
	}
}

func (s *Set) jwks(now time.Time) []byte {
	body := []byte(`{"keys":[`)
	for _, e := range s.keys {
		if e.state(now) == Gone {
			continue
		}
		if body[len(body)-1] == '}' {
			body = append(body, ',')
		}
		body = append(body, e.jwk...)
	}
	return append(body, `]}`...)
}
