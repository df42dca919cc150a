package browser_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// album is a stranger's application, on golang.org/x/oauth2 and go-oidc: "Photo Album".
//
//	/          a page with links to sign in
//	/login     begins, with whatever more parameters it is given
//	/post      the same by a form that a person sends
//	/callback  the answer: GET, or POST from form_post
//	/bye       after signing out
type album struct {
	t        *testing.T
	url      string
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	client   *http.Client

	mu      sync.Mutex
	asked   map[string]asked // by state
	answers []answered
}

type asked struct{ verifier, nonce string }

// answered is what came of one request.
type answered struct {
	method  string // of the request to /callback
	refused string // the error, or
	token   *oauth2.Token
	id      *oidc.IDToken
}

// newAlbum registers the application at the world's server. Its own address is one of
// another site when the world is on https.
func newAlbum(w *world, flags ...string) *album {
	t := w.t
	t.Helper()
	a := &album{t: t, asked: map[string]asked{}}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /{$}", a.home)
	routes.HandleFunc("GET /login", a.login)
	routes.HandleFunc("GET /post", a.post)
	routes.HandleFunc("/callback", a.callback)
	routes.HandleFunc("GET /bye", func(rw http.ResponseWriter, _ *http.Request) { show(rw, "bye", "Good bye") })
	server := httptest.NewUnstartedServer(routes)
	t.Cleanup(server.Close)
	a.client = http.DefaultClient
	if strings.HasPrefix(w.issuer, "https:") {
		server.StartTLS()
		a.url = strings.Replace(server.URL, "127.0.0.1", "photos.test", 1)
		a.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		t.Cleanup(a.client.CloseIdleConnections)
	} else {
		server.Start()
		a.url = server.URL
	}
	secret := w.client("album", append([]string{
		"--name", "Photo Album", "--grant", "authorization_code", "--grant", "refresh_token", "--scope", "openid profile email photos.read",
		"--redirect-uri", a.url + "/callback", "--post-logout-redirect-uri", a.url + "/bye",
		"--client-uri", "https://photos.example.com/", "--policy-uri", "https://photos.example.com/privacy",
	}, flags...)...)
	provider, err := oidc.NewProvider(a.context(), w.issuer)
	require.NoError(t, err)
	a.verifier = provider.Verifier(&oidc.Config{ClientID: "album"})
	a.oauth = oauth2.Config{
		ClientID: "album", ClientSecret: secret, Endpoint: provider.Endpoint(), RedirectURL: a.url + "/callback",
		Scopes: []string{"openid", "profile", "email", "photos.read"},
	}
	return a
}

func (a *album) context() context.Context {
	return oidc.ClientContext(a.t.Context(), a.client)
}

func show(rw http.ResponseWriter, id, text string) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(rw, `<!doctype html><html lang="en"><title>Photo Album</title><h1 id="%s">%s</h1>`, id, html.EscapeString(text))
}

func (a *album) home(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(rw, `<!doctype html><html lang="en"><title>Photo Album</title><h1>Photo Album</h1>
<p><a id="sign-in" href="/login">Sign in</a> <a id="sign-in-post" href="/login?response_mode=form_post">Sign in, by form_post</a>
<p id="script">off</p><script>document.getElementById("script").textContent = "on"</script>`)
}

func (a *album) login(rw http.ResponseWriter, r *http.Request) {
	http.Redirect(rw, r, a.request(r), http.StatusSeeOther)
}

func (a *album) post(rw http.ResponseWriter, r *http.Request) {
	endpoint, query, _ := strings.Cut(a.request(r), "?")
	parameters, _ := url.ParseQuery(query)
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(rw, `<!doctype html><html lang="en"><title>Photo Album</title><form method="post" action="%s">`, html.EscapeString(endpoint))
	for name := range parameters {
		fmt.Fprintf(rw, `<input type="hidden" name="%s" value="%s">`, html.EscapeString(name), html.EscapeString(parameters.Get(name)))
	}
	fmt.Fprint(rw, `<button>Sign in</button></form>`)
}

// request is the authorization request of a new sign-in.
func (a *album) request(r *http.Request) string {
	sent := asked{oauth2.GenerateVerifier(), oauth2.GenerateVerifier()}
	state := oauth2.GenerateVerifier()
	a.mu.Lock()
	a.asked[state] = sent
	a.mu.Unlock()
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(sent.verifier), oidc.Nonce(sent.nonce)}
	for name, values := range r.URL.Query() {
		options = append(options, oauth2.SetAuthURLParam(name, values[0]))
	}
	return a.oauth.AuthCodeURL(state, options...)
}

func (a *album) callback(rw http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := a.finish(r)
	if err != nil {
		show(rw, "failed", err.Error())
		return
	}
	a.mu.Lock()
	a.answers = append(a.answers, answer)
	a.mu.Unlock()
	if answer.refused != "" {
		show(rw, "refused", answer.refused)
		return
	}
	show(rw, "hello", "Hello, "+answer.id.Subject)
}

func (a *album) finish(r *http.Request) (answered, error) {
	answer := answered{method: r.Method, refused: r.Form.Get("error")}
	a.mu.Lock()
	sent, ok := a.asked[r.Form.Get("state")]
	delete(a.asked, r.Form.Get("state"))
	a.mu.Unlock()
	if !ok {
		return answer, fmt.Errorf("a state that nobody asked with")
	}
	if issuer := strings.TrimSuffix(a.oauth.Endpoint.AuthURL, "/oauth2/auth"); r.Form.Get("iss") != issuer {
		return answer, fmt.Errorf("iss is %q", r.Form.Get("iss"))
	}
	if answer.refused != "" {
		return answer, nil
	}
	var err error
	if answer.token, err = a.oauth.Exchange(a.context(), r.Form.Get("code"), oauth2.VerifierOption(sent.verifier)); err != nil {
		return answer, err
	}
	text, _ := answer.token.Extra("id_token").(string)
	if answer.id, err = a.verifier.Verify(a.context(), text); err != nil {
		return answer, err
	}
	if answer.id.Nonce != sent.nonce {
		return answer, fmt.Errorf("nonce is %q", answer.id.Nonce)
	}
	return answer, nil
}

// last is what came last.
func (a *album) last() answered {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	require.NotEmpty(a.t, a.answers)
	return a.answers[len(a.answers)-1]
}

func (a *album) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.answers)
}

// begin is the address of a sign-in with more parameters.
func (a *album) begin(pairs ...string) string {
	more := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		more.Set(pairs[i], pairs[i+1])
	}
	return a.url + "/login?" + more.Encode()
}
