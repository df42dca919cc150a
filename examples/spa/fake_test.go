package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// world is the page with an issuer and an API, each on its own port: other origins of
// one site, as in production. The two are fakes that tests can make misbehave;
// test/browser has the real ones.
type world struct {
	issuer, api, spa string

	mu       sync.Mutex
	codes    map[string]url.Values      // authorization request, by code
	sessions map[string]string          // who, by the value of the cookie
	live     map[string]string          // whose access tokens the API accepts
	minted   []string                   // all secrets that went out
	seen     map[string][]*http.Request // by path, form parsed
	serial   int

	// What tests change.
	who       string
	life      int                  // of access tokens, in seconds
	status    int                  // of the token and revocation endpoints, when not 0
	apiStatus int                  // of the API, when not 0
	answer    func(url.Values)     // changes the authorization response
	claims    func(map[string]any) // changes the ID token
	info      func(map[string]any) // changes the userinfo answer
	linger    time.Duration        // before the token endpoint looks at the cookie
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		codes: map[string]url.Values{}, sessions: map[string]string{}, live: map[string]string{}, seen: map[string][]*http.Request{},
		who: "alice", life: 600,
	}
	serve := func(handler http.Handler) string {
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		return s.URL
	}
	w.api = serve(http.HandlerFunc(w.orders)) + "/orders"
	routes := http.NewServeMux()
	routes.HandleFunc("GET /.well-known/openid-configuration", w.discovery)
	routes.HandleFunc("GET /auth", w.authorize)
	routes.HandleFunc("POST /token", w.token)
	routes.HandleFunc("/userinfo", w.userinfo)
	routes.HandleFunc("POST /revoke", w.revoke)
	routes.HandleFunc("GET /logout", w.logout)
	w.issuer = serve(routes)
	app, err := newApp(settings{Issuer: w.issuer, API: w.api, ClientID: "spa"})
	require.NoError(t, err)
	w.spa = serve(app)
	return w
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// requests are those that came to a path, with their forms.
func (w *world) requests(path string) []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen[path])
}

// grants counts token requests of a type.
func (w *world) grants(kind string) int {
	n := 0
	for _, r := range w.requests("/token") {
		if r.Form.Get("grant_type") == kind {
			n++
		}
	}
	return n
}

// secret draws a value that must be in no storage.
func (w *world) secret(kind string) string {
	w.serial++
	s := fmt.Sprintf("secret-%s-%d", kind, w.serial)
	w.minted = append(w.minted, s)
	return s
}

func (w *world) discovery(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Access-Control-Allow-Origin", "*")
	answer(rw, http.StatusOK, map[string]any{
		"issuer": w.issuer, "authorization_endpoint": w.issuer + "/auth", "token_endpoint": w.issuer + "/token",
		"userinfo_endpoint": w.issuer + "/userinfo", "revocation_endpoint": w.issuer + "/revoke", "end_session_endpoint": w.issuer + "/logout",
	})
}

// authorize signs everybody in without asking.
func (w *world) authorize(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = r.ParseForm()
	w.seen["/auth"] = append(w.seen["/auth"], r)
	code := w.secret("code")
	w.codes[code] = r.Form
	response := url.Values{"code": {code}, "state": {r.Form.Get("state")}, "iss": {w.issuer}}
	if w.answer != nil {
		w.answer(response)
	}
	http.Redirect(rw, r, r.Form.Get("redirect_uri")+"?"+response.Encode(), http.StatusSeeOther)
}

func (w *world) token(rw http.ResponseWriter, r *http.Request) {
	if !w.admit(rw, r) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var who, nonce string
	switch r.Form.Get("grant_type") {
	case "authorization_code":
		request := w.codes[r.Form.Get("code")]
		delete(w.codes, r.Form.Get("code"))
		sum := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
		if request == nil || request.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) ||
			request.Get("redirect_uri") != r.Form.Get("redirect_uri") {
			refuse(rw, "invalid_grant")
			return
		}
		who, nonce = w.who, request.Get("nonce")
	case "refresh_token":
		cookie, err := r.Cookie("grantor-rt-spa")
		if err != nil {
			refuse(rw, "invalid_request")
			return
		}
		if who = w.sessions[cookie.Value]; who == "" {
			refuse(rw, "invalid_grant")
			return
		}
		delete(w.sessions, cookie.Value) // no retry window: two tabs that do not wait for each other lose
	}
	refresh, access := w.secret("refresh"), w.secret("access")
	w.sessions[refresh], w.live[access] = who, who
	http.SetCookie(rw, &http.Cookie{Name: "grantor-rt-spa", Value: refresh, Path: "/", MaxAge: 3600, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	claims := map[string]any{
		"iss": w.issuer, "aud": "spa", "sub": "id-of-" + who,
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	if w.claims != nil {
		w.claims(claims)
	}
	body, _ := json.Marshal(claims)
	idToken := "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(body) + ".c2ln"
	w.minted = append(w.minted, idToken)
	answer(rw, http.StatusOK, map[string]any{"access_token": access, "token_type": "bearer", "expires_in": w.life, "id_token": idToken})
}

func (w *world) userinfo(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rw.Header().Set("Access-Control-Allow-Origin", w.spa)
	rw.Header().Set("Access-Control-Allow-Headers", "Authorization")
	if r.Method == http.MethodOptions {
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	who := w.live[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	info := map[string]any{"sub": "id-of-" + who, "name": strings.ToUpper(who[:1]) + who[1:] + " Müller", "preferred_username": who}
	if w.info != nil {
		w.info(info)
	}
	answer(rw, http.StatusOK, info)
}

func (w *world) revoke(rw http.ResponseWriter, r *http.Request) {
	if !w.admit(rw, r) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	cookie, err := r.Cookie("grantor-rt-spa")
	if err != nil {
		refuse(rw, "invalid_request")
		return
	}
	delete(w.sessions, cookie.Value)
	http.SetCookie(rw, &http.Cookie{Name: "grantor-rt-spa", Path: "/", MaxAge: -1})
	rw.WriteHeader(http.StatusOK)
}

// admit is what the endpoints of a browser client have in common: CORS with
// credentials for the page's origin, and no preflight.
func (w *world) admit(rw http.ResponseWriter, r *http.Request) bool {
	_ = r.ParseForm()
	w.mu.Lock()
	linger := w.linger
	w.mu.Unlock()
	<-time.After(linger)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[r.URL.Path] = append(w.seen[r.URL.Path], r)
	if r.Header.Get("Origin") != w.spa || r.Form.Get("client_id") != "spa" {
		rw.WriteHeader(http.StatusForbidden)
		return false
	}
	rw.Header().Set("Access-Control-Allow-Origin", w.spa)
	rw.Header().Set("Access-Control-Allow-Credentials", "true")
	rw.Header().Set("Access-Control-Expose-Headers", "Retry-After")
	if w.status != 0 {
		rw.Header().Set("Retry-After", "1")
		answer(rw, w.status, map[string]any{"error": "temporarily_unavailable", "error_description": "The server can not answer now."})
		return false
	}
	return true
}

func (w *world) logout(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = r.ParseForm()
	w.seen["/logout"] = append(w.seen["/logout"], r)
	http.Redirect(rw, r, r.Form.Get("post_logout_redirect_uri"), http.StatusSeeOther)
}

func (w *world) orders(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	header := rw.Header()
	header.Set("Access-Control-Allow-Origin", w.spa)
	header.Set("Access-Control-Allow-Headers", "Authorization")
	header.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
	if r.Method == http.MethodOptions {
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	w.seen["/orders"] = append(w.seen["/orders"], r)
	switch token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); {
	case w.apiStatus != 0:
		header.Set("Retry-After", "7")
		http.Error(rw, "not now", w.apiStatus)
	case w.live[token] == "":
		header.Set("WWW-Authenticate", `Bearer realm="orders", error="invalid_token"`)
		http.Error(rw, "no", http.StatusUnauthorized)
	default:
		answer(rw, http.StatusOK, map[string]any{"orders": 3})
	}
}

func refuse(w http.ResponseWriter, code string) {
	answer(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": "refused: " + code})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
