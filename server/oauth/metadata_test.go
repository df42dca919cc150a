package oauth_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
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
		require.Equal(t, strconv.Itoa(len(a.Body)), a.Header.Get("Content-Length"))
		require.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"), "W-07")
		require.Empty(t, a.Header.Get("Access-Control-Allow-Credentials"), "W-07")
		var pretty bytes.Buffer
		require.NoError(t, json.Indent(&pretty, a.Body, "", "  "))
		pretty.WriteByte('\n')
		golden(t, "metadata.golden", pretty.Bytes())
	}
}

// W-01: every advertised value is tried, and what is not advertised does not work. A new
// member of the document needs a new line here.
func TestMetadata_advertises_exactly_what_works_W01(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	zoe := allClaims(t, w)
	d := described{World: w, doc: w.Send(servertest.Get(documents[0])).Require(200).JSON}
	tries := map[string]func(t *testing.T, d described){
		"issuer": func(t *testing.T, d described) { require.Equal(t, w.Issuer, d.doc["issuer"]) },

		"authorization_endpoint": func(_ *testing.T, d described) {
			w.Browser().Get(d.path("authorization_endpoint") + "?" + servertest.AuthorizeQuery("c1").Encode()).Through("alice").Code()
		},
		"token_endpoint": func(t *testing.T, d described) { require.Equal(t, token, d.path("token_endpoint")) },
		"introspection_endpoint": func(_ *testing.T, d described) {
			w.Post(d.path("introspection_endpoint"), "rs", "token", "x").Require(200)
		},
		"revocation_endpoint": func(_ *testing.T, d described) {
			w.Post(d.path("revocation_endpoint"), "c1", "token", "x").Require(200)
		},
		"userinfo_endpoint": func(_ *testing.T, d described) {
			w.Send(servertest.Get(d.path("userinfo_endpoint")).Bearer(w.Login("all", "zoe").Access())).Require(200)
		},
		"end_session_endpoint": func(_ *testing.T, d described) {
			w.Browser().Get(d.path("end_session_endpoint")).Require(200)
		},
		"jwks_uri": func(t *testing.T, d described) {
			require.NotEmpty(t, w.Send(servertest.Get(d.path("jwks_uri"))).Require(200).JSON["keys"])
		},

		"grant_types_supported": tryGrantTypes,
		"response_types_supported": func(t *testing.T, d described) {
			require.Equal(t, []string{"code"}, d.list(t, "response_types_supported"))
			for _, other := range []string{"token", "id_token", "code token", "code id_token", "none"} {
				requireRedirect(t, w.Browser().Authorize("c1", "response_type", other), "unsupported_response_type")
			}
		},
		"response_modes_supported": func(t *testing.T, d described) {
			b := w.Browser()
			for _, mode := range d.list(t, "response_modes_supported") {
				page := b.Authorize("own", "response_mode", mode).Through("alice")
				page.Code()
				require.Equal(t, mode, modeOf(page))
			}
			for _, other := range []string{"jwt", "query.jwt", "web_message"} {
				requireRedirect(t, b.Authorize("own", "response_mode", other), "invalid_request")
			}
		},
		"code_challenge_methods_supported": func(t *testing.T, d described) { // K-04
			require.Equal(t, []string{"S256"}, d.list(t, "code_challenge_methods_supported"))
			w.Obtain("own", "alice", "code_challenge_method", "S256")
			requireRedirect(t, w.Browser().Authorize("own", "code_challenge_method", "plain", "code_challenge", servertest.Verifier), "invalid_request")
		},
		"prompt_values_supported": func(t *testing.T, d described) {
			wants := map[string]string{"none": servertest.Callback, "login": "/login", "consent": "/consent", "select_account": "/login"}
			b := w.Browser()
			b.Authorize("c1").Through("alice").Code()
			for _, prompt := range d.list(t, "prompt_values_supported") {
				to := b.Authorize("c1", "prompt", prompt).Require(303).Location()
				require.True(t, strings.HasPrefix(to, wants[prompt]+"?"), "%s: %s", prompt, to)
				delete(wants, prompt)
			}
			require.Empty(t, wants)
			requireRedirect(t, b.Authorize("c1", "prompt", "create"), "invalid_request")
		},
		"ui_locales_supported": func(t *testing.T, d described) {
			for _, locale := range d.list(t, "ui_locales_supported") {
				page := w.Browser().Authorize("c1", "ui_locales", locale).Follow()
				require.Equal(t, locale, page.Header.Get("Content-Language"))
			}
		},
		"acr_values_supported": func(t *testing.T, d described) {
			for _, acr := range d.list(t, "acr_values_supported") {
				claims := `{"id_token":{"acr":{"essential":true,"value":"` + acr + `"}}}`
				tokens := w.Obtain("own", "alice", "acr_values", acr, "claims", claims)
				require.Equal(t, acr, servertest.Claims(t, tokens.Text("id_token"))["acr"])
			}
		},
		"claim_types_supported": func(t *testing.T, d described) {
			require.Equal(t, []string{"normal"}, d.list(t, "claim_types_supported"))
		},
		"subject_types_supported": func(t *testing.T, d described) {
			require.Equal(t, []string{"public"}, d.list(t, "subject_types_supported"))
			for _, client := range []string{"c1", "c2"} {
				require.Equal(t, zoe.ID, servertest.Claims(t, w.Obtain(client, "zoe").Text("id_token"))["sub"])
			}
		},
		"id_token_signing_alg_values_supported": func(t *testing.T, d described) {
			for _, alg := range d.list(t, "id_token_signing_alg_values_supported") {
				w.UpdateClient("all", func(c *clients.Client) { c.IDTokenAlg = alg })
				require.Equal(t, alg, headerOf(t, w.Obtain("all", "zoe").Text("id_token"))["alg"])
			}
		},
		"userinfo_signing_alg_values_supported": func(t *testing.T, d described) {
			for _, alg := range d.list(t, "userinfo_signing_alg_values_supported") {
				w.UpdateClient("all", func(c *clients.Client) { c.UserinfoAlg = alg })
				answer := w.Userinfo(w.Login("all", "zoe").Access()).Require(200)
				require.Equal(t, alg, headerOf(t, string(answer.Body))["alg"])
			}
			w.UpdateClient("all", func(c *clients.Client) { c.UserinfoAlg = "" })
		},
		"scopes_supported": func(t *testing.T, d described) {
			for _, scope := range d.list(t, "scopes_supported") {
				require.Equal(t, scope, w.Login("all", "zoe", "scope", scope).Text("scope"))
			}
		},
		"claims_supported": func(t *testing.T, d described) {
			tokens := w.Obtain("all", "zoe", "scope", strings.Join(d.list(t, "scopes_supported"), " "))
			info := w.Userinfo(tokens.Access()).Require(200).JSON
			for name, value := range servertest.Claims(t, tokens.Text("id_token")) {
				info[name] = value
			}
			require.ElementsMatch(t, d.list(t, "claims_supported"), names(info))
		},

		"token_endpoint_auth_methods_supported":         tryAuthMethods("token_endpoint"),
		"introspection_endpoint_auth_methods_supported": tryAuthMethods("introspection_endpoint"),
		"revocation_endpoint_auth_methods_supported":    tryAuthMethods("revocation_endpoint"),

		"authorization_response_iss_parameter_supported": func(t *testing.T, d described) {
			require.Equal(t, true, d.doc["authorization_response_iss_parameter_supported"])
			require.Equal(t, d.doc["issuer"], w.Browser().Authorize("own").Through("alice").Answered().Get("iss"))
		},
		"claims_parameter_supported": func(t *testing.T, d described) {
			require.Equal(t, true, d.doc["claims_parameter_supported"])
			tokens := w.Obtain("own", "alice", "claims", `{"id_token":{"email":null}}`)
			require.Equal(t, "alice@app.test", servertest.Claims(t, tokens.Text("id_token"))["email"])
		},
		"backchannel_logout_supported":         tryBackchannel,
		"backchannel_logout_session_supported": tryBackchannel,
		"request_parameter_supported": func(t *testing.T, d described) {
			require.Equal(t, false, d.doc["request_parameter_supported"])
			requireRedirect(t, w.Browser().Authorize("own", "request", "eyJhbGciOiJub25lIn0.e30."), "request_not_supported")
		},
		"request_uri_parameter_supported": func(t *testing.T, d described) {
			require.Equal(t, false, d.doc["request_uri_parameter_supported"])
			requireRedirect(t, w.Browser().Authorize("own", "request_uri", "https://app.test/request"), "request_uri_not_supported")
		},
	}
	for member := range d.doc {
		require.Contains(t, tries, member, "advertised, but nothing tries it")
	}
	for member, try := range tries {
		t.Run(member, func(t *testing.T) {
			require.Contains(t, d.doc, member)
			try(t, d)
		})
	}
}

// described is a World and what it says about itself.
type described struct {
	*servertest.World
	doc map[string]any
}

func (d described) path(member string) string {
	rest, _ := strings.CutPrefix(d.doc[member].(string), d.Issuer)
	return rest
}

func (d described) list(t *testing.T, member string) (out []string) {
	t.Helper()
	for _, item := range d.doc[member].([]any) {
		out = append(out, item.(string))
	}
	require.NotEmpty(t, out)
	return out
}

func tryGrantTypes(t *testing.T, d described) {
	t.Helper()
	login := d.Login("c1", "alice")
	tries := map[string]func() *servertest.Answer{
		"password":           func() *servertest.Answer { return d.TryLogin("c1", "alice") },
		"refresh_token":      func() *servertest.Answer { return d.Refresh("c1", login.Refresh()) },
		"client_credentials": func() *servertest.Answer { return d.Token("cc", "grant_type", "client_credentials") },
		"authorization_code": func() *servertest.Answer { return d.Obtain("c1", "alice") },
	}
	require.ElementsMatch(t, names(tries), d.list(t, "grant_types_supported"))
	for _, try := range tries {
		try().Require(200)
	}
	for _, other := range []string{"implicit", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer"} {
		d.Token("c1", "grant_type", other).Refused(400, "unsupported_grant_type")
	}
}

// tryAuthMethods tries each method of client authentication at an endpoint that says so, and no other.
func tryAuthMethods(endpoint string) func(*testing.T, described) {
	return func(t *testing.T, d described) {
		form := func(more ...string) *servertest.Request {
			return servertest.Form(d.path(endpoint), append([]string{"grant_type", "password", "username", "alice", "password", servertest.Password("alice"), "token", "x"}, more...)...)
		}
		var works []string
		for method, r := range map[string]*servertest.Request{
			"client_secret_basic": form().Basic("c1", d.Secret("c1")),
			"client_secret_post":  form("client_id", "c1", "client_secret", d.Secret("c1")),
			"none":                form("client_id", "p1"),
			"private_key_jwt":     form("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", "ev1l.ev1l.ev1l"),
		} {
			if d.Send(r).Status == 200 {
				works = append(works, method)
			}
		}
		require.ElementsMatch(t, works, d.list(t, endpoint+"_auth_methods_supported"))
	}
}

// tryBackchannel signs somebody out: a notice for the client waits, and names the session.
// That it arrives is another test's.
func tryBackchannel(t *testing.T, d described) {
	t.Helper()
	require.Equal(t, true, d.doc["backchannel_logout_supported"])
	require.Equal(t, true, d.doc["backchannel_logout_session_supported"])
	d.UpdateClient("two", func(c *clients.Client) { c.BackchannelLogoutURI = "https://app.test/backchannel" })
	b := d.Browser()
	tokens := d.Redeem("two", b.Authorize("two").Through("alice").Code()).Require(200)
	b.Get("/oauth2/logout?id_token_hint=" + tokens.Text("id_token")).Require(200)
	notices, err := d.Store.ClaimLogoutNotices(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, notices, 1)
	require.Equal(t, "two", notices[0].ClientID)
	require.Equal(t, servertest.Claims(t, tokens.Text("id_token"))["sid"], notices[0].BrowserID.String())
	require.NoError(t, d.Store.DeleteLogoutNotice(t.Context(), notices[0].ID))
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
			require.Equal(t, want, w.Send(servertest.Get(path).Set(header, "ev1l.test")).Require(200).Body, header)
		}
		// The token does not believe it either, nor the session where it came from.
		a := w.Send(w.As(servertest.Form("/oauth2/token", "grant_type", "password", "username", "alice", "password", servertest.Password("alice")), "c1").Set(header, "ev1l.test")).Require(200)
		require.Equal(t, w.Issuer, servertest.Claims(t, a.Access())["iss"])
		require.Equal(t, "127.0.0.1", session(t, w, a.Refresh()).CreatedFrom, header)
	}
	require.NotContains(t, w.Log.Text(), "ev1l")
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
