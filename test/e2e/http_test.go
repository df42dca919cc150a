package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// browser keeps as many connections as the busiest test has workers.
var browser = &http.Client{
	Timeout:   patience,
	Transport: &http.Transport{MaxIdleConnsPerHost: 500, DisableCompression: true},
}

// answer is what came back, whole.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// field reads one member of a JSON answer, "" when there is none.
func (a answer) field(name string) string {
	var members map[string]any
	if json.Unmarshal(a.body, &members) != nil || members[name] == nil {
		return ""
	}
	return fmt.Sprint(members[name])
}

// submit posts a form as a client. It fails only when no answer came.
func submit(ctx context.Context, address string, as credentials, form url.Values) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(as.ID, as.Secret)
	return do(browser, request)
}

// fetch gets a page, with a bearer token if there is one.
func fetch(ctx context.Context, address, token string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return do(browser, request)
}

func do(client *http.Client, request *http.Request) (answer, error) {
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	a, err := whole(response)
	a.took = time.Since(began)
	return a, err
}

func whole(response *http.Response) (answer, error) {
	body, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: body}, err
}

func get(t testing.TB, address string) answer {
	t.Helper()
	a, err := fetch(t.Context(), address, "")
	require.NoError(t, err)
	return a
}

func getAs(t testing.TB, address, token string) answer {
	t.Helper()
	a, err := fetch(t.Context(), address, token)
	require.NoError(t, err)
	return a
}

func post(t testing.TB, address string, as credentials, form url.Values) answer {
	t.Helper()
	a, err := submit(t.Context(), address, as, form)
	require.NoError(t, err)
	return a
}

// tokens are what the token endpoint gives.
type tokens struct{ access, refresh string }

// tokensOf reads a 200 of the token endpoint.
func (w *world) tokensOf(a answer) tokens {
	w.t.Helper()
	require.Equal(w.t, http.StatusOK, a.status, "%s", a)
	got := tokens{a.field("access_token"), a.field("refresh_token")}
	require.NotEmpty(w.t, got.access)
	w.secret(got.access, got.refresh)
	return got
}

// The forms of the token endpoint.

func passwordForm(name, password string) url.Values {
	return url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}}
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

func clientForm() url.Values { return url.Values{"grant_type": {"client_credentials"}} }

func tokenForm(token string) url.Values { return url.Values{"token": {token}} }

// login begins a session.
func (w *world) login(p *program, as credentials, name, password string) tokens {
	w.t.Helper()
	return w.tokensOf(post(w.t, p.url+"/oauth2/token", as, passwordForm(name, password)))
}

// refresh asks for the next pair, whatever comes.
func (w *world) refresh(p *program, as credentials, token string) answer {
	w.t.Helper()
	return post(w.t, p.url+"/oauth2/token", as, refreshForm(token))
}

// renew must get the next pair.
func (w *world) renew(p *program, as credentials, token string) tokens {
	w.t.Helper()
	return w.tokensOf(w.refresh(p, as, token))
}

// active is what introspection says.
func (w *world) active(p *program, as credentials, token string) bool {
	w.t.Helper()
	a := post(w.t, p.url+"/oauth2/introspect", as, tokenForm(token))
	require.Equal(w.t, http.StatusOK, a.status, "%s", a)
	answer := a.field("active")
	if answer == "false" {
		require.JSONEq(w.t, `{"active":false}`, string(a.body), "an inactive token is not described")
	}
	return answer == "true"
}

// refused wants the OAuth error of that name.
func refused(t testing.TB, a answer, code string) {
	t.Helper()
	require.Equal(t, code, a.field("error"), "%s", a)
	switch code {
	case "invalid_client":
		require.Equal(t, http.StatusUnauthorized, a.status)
		require.NotEmpty(t, a.header.Get("WWW-Authenticate"))
	default:
		require.Equal(t, http.StatusBadRequest, a.status)
	}
}

// unavailable wants the honest answer of who can not reach the database.
func unavailable(t testing.TB, a answer) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, a.status, "%s", a)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Equal(t, "temporarily_unavailable", a.field("error"))
}
