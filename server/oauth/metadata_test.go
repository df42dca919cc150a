package oauth_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/server/servertest"
)

var documents = []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"}

func TestMetadata_golden_W01(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, path := range documents {
		a := w.Send(servertest.Get(path)).Require(200)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"))
		require.Equal(t, "public, max-age=300", a.Header.Get("Cache-Control"))
		require.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"), "W-07")
		require.Empty(t, a.Header.Get("Access-Control-Allow-Credentials"), "W-07")
		var pretty bytes.Buffer
		require.NoError(t, json.Indent(&pretty, a.Body, "", "  "))
		pretty.WriteByte('\n')
		golden(t, "metadata.golden", pretty.Bytes())
	}
}

// W-01: every advertised value is tried, and what is not advertised does not work.
func TestMetadata_advertises_exactly_what_works_W01(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	var doc map[string]any
	require.NoError(t, json.Unmarshal(w.Send(servertest.Get(documents[0])).Body, &doc))
	path := func(name string) string {
		rest, ok := strings.CutPrefix(doc[name].(string), w.Issuer)
		require.True(t, ok, name)
		return rest
	}
	list := func(name string) (out []string) {
		for _, item := range doc[name].([]any) {
			out = append(out, item.(string))
		}
		return out
	}
	require.Equal(t, w.Issuer, doc["issuer"])

	tried := map[string]bool{}
	login := w.Login("c1", "alice")
	for grant, try := range map[string]func() *servertest.Answer{
		"password":           func() *servertest.Answer { return w.TryLogin("c1", "alice") },
		"refresh_token":      func() *servertest.Answer { return w.Refresh("c1", login.Refresh()) },
		"client_credentials": func() *servertest.Answer { return w.Token("cc", "grant_type", "client_credentials") },
	} {
		require.Equal(t, "/oauth2/token", path("token_endpoint"))
		try().Require(200)
		tried[grant] = true
	}
	for _, grant := range list("grant_types_supported") {
		require.True(t, tried[grant], grant)
	}
	require.Len(t, list("grant_types_supported"), len(tried))
	for _, other := range []string{"authorization_code", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer"} {
		w.Token("c1", "grant_type", other).Refused(400, "unsupported_grant_type")
	}

	// Each method of client authentication at each endpoint that says so, and no other.
	for endpoint, methods := range map[string]string{
		"token_endpoint": "token_endpoint_auth_methods_supported", "introspection_endpoint": "introspection_endpoint_auth_methods_supported",
		"revocation_endpoint": "revocation_endpoint_auth_methods_supported",
	} {
		at := path(endpoint)
		works := map[string]bool{}
		form := func(more ...string) *servertest.Request {
			return servertest.Form(at, append([]string{"grant_type", "password", "username", "alice", "password", servertest.Password("alice"), "token", "x"}, more...)...)
		}
		works["client_secret_basic"] = w.Send(form().Basic("c1", w.Secret("c1"))).Status == 200
		works["client_secret_post"] = w.Send(form("client_id", "c1", "client_secret", w.Secret("c1"))).Status == 200
		works["none"] = w.Send(form("client_id", "p1")).Status == 200
		for _, method := range list(methods) {
			require.True(t, works[method], "%s %s", endpoint, method)
			delete(works, method)
		}
		for method, works := range works {
			require.False(t, works, "%s is not said to take %s", endpoint, method)
		}
	}

	allClaims(t, w)
	info := w.Send(servertest.Get(path("userinfo_endpoint")).Bearer(w.Login("all", "zoe").Access())).Require(200)
	require.ElementsMatch(t, list("claims_supported"), names(info.JSON))
	for _, scope := range list("scopes_supported") {
		require.Equal(t, scope, w.Login("all", "zoe", "scope", scope).Text("scope"))
	}

	algorithms := map[string]bool{}
	for _, key := range w.Send(servertest.Get(path("jwks_uri"))).Require(200).JSON["keys"].([]any) {
		algorithms[key.(map[string]any)["alg"].(string)] = true
	}
	require.ElementsMatch(t, list("id_token_signing_alg_values_supported"), names(algorithms))
	require.Empty(t, list("response_types_supported"))
	require.NotContains(t, doc, "authorization_endpoint")
	w.Send(servertest.Get("/oauth2/auth")).Require(404)
	require.Equal(t, false, doc["request_uri_parameter_supported"])
}

func names[V any](m map[string]V) (list []string) {
	for name := range m {
		list = append(list, name)
	}
	return list
}

// W-03, H-06 and E-10's rule: nobody but the configuration says who we are.
func TestMetadata_is_not_told_who_it_is_W03_H06(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	want := w.Send(servertest.Get(documents[0])).Body
	for _, header := range []string{"Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"} {
		for _, path := range documents {
			require.Equal(t, want, w.Send(servertest.Get(path).Set(header, "evil.test")).Require(200).Body, header)
		}
		// The token does not believe it either, nor the session where it came from.
		a := w.Send(w.As(servertest.Form("/oauth2/token", "grant_type", "password", "username", "alice", "password", servertest.Password("alice")), "c1").Set(header, "evil.test")).Require(200)
		require.Equal(t, w.Issuer, servertest.Claims(t, a.Access())["iss"])
		require.Equal(t, "127.0.0.1", session(t, w, a.Refresh()).CreatedFrom, header)
	}
	require.NotContains(t, w.Log.Text(), "evil")
}

func TestMetadata_of_an_issuer_with_a_path(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{Config: func(c *config.Config) { c.Issuer = "https://as.test/tenant" }})
	a := w.Send(servertest.Get(documents[0])).Require(200)
	require.Equal(t, "https://as.test/tenant", a.JSON["issuer"])
	require.Equal(t, "https://as.test/tenant/oauth2/token", a.JSON["token_endpoint"])
}

func TestMetadata_HEAD(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, path := range append(documents, "/.well-known/jwks.json") {
		a := w.Send(&servertest.Request{Method: http.MethodHead, Path: path, Header: http.Header{}}).Require(200)
		require.Empty(t, a.Body)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	}
}
