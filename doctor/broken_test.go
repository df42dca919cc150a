package doctor_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/doctor"
	"github.com/grantorhq/grantor/server/servertest"
)

// breakage is a server that has one hole: the real one, and something in front of it that
// undoes a refusal.
type breakage struct {
	check string
	name  string
	front func(http.Handler) http.Handler
}

func breakages() []breakage {
	return []breakage{
		{"attack-setup", "knows no clients", changed("/oauth2/introspect", func(_ *http.Request, a *httptest.ResponseRecorder) { a.Code = 401 })},
		{"attack-parallel-refresh", "makes a successor for each", each()},
		{"attack-parallel-refresh", "refuses all but one", only()},
		{"attack-refresh-reuse", "takes any refresh token", remembering("refresh_token")},
		{"attack-code-replay", "takes a code twice", remembering("authorization_code")},
		{"attack-code-verifier", "does not look at the verifier", changed("/oauth2/token", func(r *http.Request, a *httptest.ResponseRecorder) {
			if r.PostForm.Get("grant_type") == "authorization_code" && !strings.HasPrefix(r.PostForm.Get("code_verifier"), "grantor-doctor") {
				succeed(a, `{"access_token":"a","refresh_token":"r"}`)
			}
		})},
		{"attack-code-verifier", "forgets the challenge when it was wrong once", forgetful()},
		{"attack-pkce-downgrade", "does without a challenge", rewriting(func(q url.Values) bool {
			if q.Has("code_challenge") {
				return false
			}
			q.Set("code_challenge", "grantor-doctor-has-one-verifier-for-all-its")
			q.Set("code_challenge_method", "S256")
			return true
		})},
		{"attack-pkce-downgrade", "takes plain", rewriting(func(q url.Values) bool {
			if q.Get("code_challenge_method") == "S256" || !q.Has("code_challenge") {
				return false
			}
			q.Set("code_challenge", "grantor-doctor-has-one-verifier-for-all-its")
			q.Set("code_challenge_method", "S256")
			return true
		})},
		{"attack-redirect-uri", "takes what begins alike", changed("/oauth2/auth", func(r *http.Request, a *httptest.ResponseRecorder) {
			if to := r.URL.Query().Get("redirect_uri"); a.Code == 400 && strings.HasPrefix(to, "https://grantor-doctor.invalid/callback/") {
				a.Code = http.StatusSeeOther
				a.Header().Set("Location", to+"?code=x")
			}
		})},
		{"attack-mix-up", "does not name itself", changed("", func(_ *http.Request, a *httptest.ResponseRecorder) {
			to, err := url.Parse(a.Header().Get("Location"))
			if err == nil && to.Query().Has("iss") {
				q := to.Query()
				q.Del("iss")
				to.RawQuery = q.Encode()
				a.Header().Set("Location", to.String())
			}
		})},
		{"attack-audience", "tells everybody", changed("/oauth2/introspect", func(r *http.Request, a *httptest.ResponseRecorder) {
			if r.PostForm.Get("token") != "unknown" {
				succeed(a, `{"active":true}`)
			}
		})},
		{"attack-foreign-client", "revokes for everybody", changed("/oauth2/revoke", func(_ *http.Request, a *httptest.ResponseRecorder) { succeed(a, "") })},
		{"attack-revocation", "goes on after a revocation", changed("/userinfo", func(_ *http.Request, a *httptest.ResponseRecorder) { succeed(a, `{"sub":"x"}`) })},
		{"attack-revocation", "says that it did and does not", saying()},
		{"attack-forged-token", "does not look at signatures", changed("/userinfo", func(_ *http.Request, a *httptest.ResponseRecorder) { succeed(a, `{"sub":"x"}`) })},
		{"attack-client-secret", "has another word for it", changed("/oauth2/token", func(_ *http.Request, a *httptest.ResponseRecorder) {
			if a.Code == 401 {
				a.Code = 400
			}
		})},
		{"attack-client-secret", "does not look at secrets", changed("/oauth2/token", func(_ *http.Request, a *httptest.ResponseRecorder) {
			if a.Code == 401 {
				succeed(a, `{"access_token":"a"}`)
			}
		})},
		{"attack-forms", "takes forms from anywhere", changed("/login", func(r *http.Request, a *httptest.ResponseRecorder) {
			if a.Code == 403 && r.Header.Get("Origin") == "https://attacker.invalid" {
				a.Code = http.StatusSeeOther
				a.Header().Set("Location", "/account")
			}
		})},
		{"attack-cookies", "shows cookies to scripts", changed("", func(_ *http.Request, a *httptest.ResponseRecorder) {
			for i, line := range a.Header()["Set-Cookie"] {
				a.Header()["Set-Cookie"][i] = strings.Replace(line, "; HttpOnly", "", 1)
			}
		})},
		{"attack-guessing", "lets everybody guess", changed("/oauth2/token", func(_ *http.Request, a *httptest.ResponseRecorder) {
			if a.Code == 429 {
				a.Code = 400
			}
		})},
	}
}

// The control of every attack: it finds the hole in a server that has it, and what was
// made is gone afterwards.
func TestAttacksFindHoles(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, shared())
	forget(t, w)
	before := contents(t, w)
	for _, b := range breakages() {
		t.Run(b.check+": "+b.name, func(t *testing.T) {
			d := deploy(w)
			d.around = b.front
			found := of(d.examine(t, true), b.check)
			require.NotEmpty(t, found)
			for _, f := range found {
				require.Equal(t, doctor.Fail, f.Grade, "%v", f)
			}
			require.Equal(t, before, contents(t, w))
		})
	}
}

// What can not be removed is said, with its name.
func TestWhatIsLeftIsSaid(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, shared())
	forget(t, w)
	d := deploy(w)
	d.patient.Guests = w.Open()
	w.Break(func(sql string) error {
		if strings.Contains(sql, `DELETE FROM "clients"`) {
			return fmt.Errorf("no")
		}
		return nil
	})
	found := of(d.examine(t, true), "attack-removal")
	require.Len(t, found, 1)
	require.Equal(t, doctor.Fail, found[0].Grade)
	require.Contains(t, found[0].Finding, "grantor-doctor-")
}

// changed changes the answers at a path, all of them for "".
func changed(path string, change func(*http.Request, *httptest.ResponseRecorder)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return recorded(next, func(r *http.Request, a *httptest.ResponseRecorder) {
			if path == "" || r.URL.Path == path {
				change(r, a)
			}
		})
	}
}

func succeed(a *httptest.ResponseRecorder, body string) {
	a.Code = http.StatusOK
	a.Body.Reset()
	a.Body.WriteString(body)
}

// each answers every refresh with a token of its own.
func each() func(http.Handler) http.Handler {
	var n atomic.Int64
	return changed("/oauth2/token", func(r *http.Request, a *httptest.ResponseRecorder) {
		var body map[string]any
		if r.PostForm.Get("grant_type") != "refresh_token" || json.Unmarshal(a.Body.Bytes(), &body) != nil || body["refresh_token"] == nil {
			return
		}
		body["refresh_token"] = fmt.Sprint(body["refresh_token"], n.Add(1))
		text, _ := json.Marshal(body)
		succeed(a, string(text))
	})
}

// only refuses whoever shows a token a second time.
func only() func(http.Handler) http.Handler {
	var shown atomic.Pointer[string]
	return changed("/oauth2/token", func(r *http.Request, a *httptest.ResponseRecorder) {
		token := r.PostForm.Get("refresh_token")
		if token == "" || a.Code != http.StatusOK {
			return
		}
		if before := shown.Swap(&token); before != nil && *before == token {
			a.Code = http.StatusBadRequest
			a.Body.Reset()
			a.Body.WriteString(`{"error":"invalid_grant"}`)
		}
	})
}

// remembering answers what is refused with what was answered last.
func remembering(grant string) func(http.Handler) http.Handler {
	var last atomic.Pointer[string]
	return changed("/oauth2/token", func(r *http.Request, a *httptest.ResponseRecorder) {
		if r.PostForm.Get("grant_type") != grant {
			return
		}
		if a.Code == http.StatusOK {
			body := a.Body.String()
			last.Store(&body)
		} else if body := last.Load(); body != nil {
			succeed(a, *body)
		}
	})
}

// forgetful is what fosite does by itself: the second try without a verifier succeeds.
func forgetful() func(http.Handler) http.Handler {
	var tries atomic.Int64
	return changed("/oauth2/token", func(r *http.Request, a *httptest.ResponseRecorder) {
		if r.PostForm.Get("grant_type") == "authorization_code" && !r.PostForm.Has("code_verifier") && tries.Add(1) == 2 {
			succeed(a, `{"access_token":"a","refresh_token":"r"}`)
		}
	})
}

// saying answers a revocation and keeps it from the server.
func saying() func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/oauth2/revoke" && r.ContentLength > 10 {
				w.WriteHeader(http.StatusOK)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func rewriting(change func(url.Values) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); r.URL.Path == "/oauth2/auth" && q.Has("client_id") && change(q) {
				r.URL.RawQuery = q.Encode()
			}
			next.ServeHTTP(w, r)
		})
	}
}
