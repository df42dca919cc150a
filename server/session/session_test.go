package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/server/session"
	"github.com/grantorhq/grantor/server/ui"
)

const (
	sessionCookie = "__Host-grantor-session"
	deviceCookie  = "__Host-grantor-device"
)

func loopback(c *config.Config) { c.Issuer = "http://127.0.0.1:8080" }

func signedIn(b *servertest.Browser) bool { return b.Get("/account").Status == http.StatusOK }

func TestSession_cookies_L03(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config func(*config.Config)
		prefix string
	}{"https": {nil, "__Host-grantor-"}, "loopback": {loopback, "grantor-"}} {
		w := servertest.New(t, servertest.Setup{Config: c.config})
		b := w.Browser()
		b.SignIn("alice")
		require.Len(t, b.Cookies, 2, name)
		for _, what := range []string{"session", "device"} {
			cookie := b.Cookies[c.prefix+what]
			require.NotNil(t, cookie, "%s %s", name, what)
			require.True(t, cookie.HttpOnly)
			require.Equal(t, http.SameSiteLaxMode, cookie.SameSite, "so that a link of an application finds the person signed in")
			require.Equal(t, "/", cookie.Path)
			require.Empty(t, cookie.Domain)
			require.Equal(t, name == "https", cookie.Secure)
			require.Less(t, len(cookie.Value), 4096)
		}
		require.Zero(t, b.Cookies[c.prefix+"session"].MaxAge, "it ends with the browser")
		require.Positive(t, b.Cookies[c.prefix+"device"].MaxAge)

		gone := b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
		cookie, err := http.ParseSetCookie(gone.Header.Get("Set-Cookie"))
		require.NoError(t, err)
		require.Equal(t, c.prefix+"session", cookie.Name)
		require.Negative(t, cookie.MaxAge)
		require.Equal(t, name == "https", cookie.Secure, "a __Host- cookie is only taken back with Secure")
		require.Contains(t, b.Cookies, c.prefix+"device", "the browser stays known")
	}
}

// A cookie that does not prove itself is nobody's, and costs no statement.
func TestSession_forged_cookies(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	good := b.Cookies[sessionCookie].Value
	id, generation, err := w.Codec.Parse(grants.Browser, good)
	require.NoError(t, err)
	require.Equal(t, int64(1), generation)
	tokens := w.Redeem("own", b.Authorize("own").Code())
	for name, value := range map[string]string{
		"empty": "", "evil": "evil", "cut": good[:len(good)-1], "longer": good + "A", "changed": good[:10] + "AAAA" + good[14:],
		"a refresh token":       tokens.Refresh(),
		"a code of the same id": w.Codec.Mint(grants.Code, id, 1),
		"the device's":          b.Cookies[deviceCookie].Value,
		"SQL":                   "gs1_' OR 1=1 --",
		"long":                  strings.Repeat("A", 8000),
	} {
		forger := w.Browser()
		forger.Cookies[sessionCookie] = &http.Cookie{Name: sessionCookie, Value: value}
		require.Zero(t, w.Statements(func() { require.False(t, signedIn(forger), name) }), name)
	}
	// The generation is part of what is proven.
	for _, generation := range []int64{0, 2, 1 << 40} {
		forger := w.Browser()
		forger.Cookies[sessionCookie] = &http.Cookie{Name: sessionCookie, Value: w.Codec.Mint(grants.Browser, id, generation)}
		require.False(t, signedIn(forger))
	}
	// A cookie from another name, as a plain http page of a sibling could set it.
	forger := w.Browser()
	forger.Cookies["grantor-session"] = &http.Cookie{Name: "grantor-session", Value: good}
	require.False(t, signedIn(forger))
	require.True(t, signedIn(b))
	require.LessOrEqual(t, w.Statements(func() { b.Get("/logout") }), 1, "reading who is signed in")
}

// Server secrets of before still prove a cookie; one that was taken away does not.
func TestSession_survives_a_new_server_secret(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	fresh := servertest.New(t, servertest.Setup{}).KeyringText
	other := w.WithKeyring(fresh + "," + w.KeyringText).Browser()
	other.Cookies = b.Cookies
	require.True(t, signedIn(other))
}

// The device's cookie holds a bounded list, and nobody reads or changes it.
func TestSession_device(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	form := b.Get("/login").Form("csrf_token").Fields.Get("csrf_token")
	device := b.Cookies[deviceCookie].Value
	require.NotContains(t, device, form)
	again := b.Get("/login")
	require.Empty(t, again.Header.Values("Set-Cookie"), "kept as it is")
	require.Equal(t, form, again.Form("csrf_token").Fields.Get("csrf_token"))

	for _, value := range []string{"evil", device[:len(device)-1], device + "A", "gq1_" + strings.TrimPrefix(device, "gd1_")} {
		other := w.Browser()
		other.Cookies[deviceCookie] = &http.Cookie{Name: deviceCookie, Value: value}
		p := other.Get("/login").Require(http.StatusOK)
		require.NotEqual(t, form, p.Form("csrf_token").Fields.Get("csrf_token"))
		require.NotEqual(t, value, other.Cookies[deviceCookie].Value, "a new one takes its place")
	}
	first := len(device)
	for i := range 12 {
		name := "user-" + string(rune('a'+i))
		w.AddUser(name)
		delete(b.Cookies, sessionCookie)
		b.SignIn(name)
		require.NotEqual(t, device, b.Cookies[deviceCookie].Value)
	}
	full := len(b.Cookies[deviceCookie].Value)
	require.Greater(t, full, first)
	require.Less(t, full, 1024)
	require.Equal(t, form, b.Get("/account").Form("csrf_token").Fields.Get("csrf_token"), "the forms of other tabs still work")
}

// What is left out says nothing: people are shown the same name as before.
func TestAgentOf_leaves_out_what_all_say(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36":                  "(X11; Linux) Chrome/142",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0":    "(X11; Linux) Chrome/142 Edg/142",
		"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0":                                                 "(X11; Linux) Firefox/142",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15":  "(Macintosh) Version/18.5 Safari/605.1.15",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0":                                       "(Windows NT 10.0) Firefox/142",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.7444.60 Safari/537.36":    "(Windows NT 10.0) Chrome/142.0.7444.60",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:142.0) Gecko/20100101 Firefox/142.0":                                   "(Macintosh) Firefox/142",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142 Safari/604.1": "(iPhone; CPU iPhone OS 18_5 like Mac OS X) CriOS/142 Safari/604.1",
		"Mozilla/5.0 (Windows NT 10.0; Trident/7.0; rv:11.0) like Gecko":                                                         "(Windows NT 10.0; Trident/7.0; rv:11.0) like Gecko",
	} {
		r := httptest.NewRequest(http.MethodPost, "/login", nil)
		r.Header.Set("User-Agent", sent)
		got := session.AgentOf(r)
		require.Equal(t, want, got)
		require.Equal(t, ui.Device(sent), ui.Device(got))
		require.NotEmpty(t, ui.Device(got))
	}
	const app = "Shop/3.1 Mozilla/5.0 (nearly) Safari/537.36"
	r := httptest.NewRequest(http.MethodPost, "/login", nil)
	r.Header.Set("User-Agent", app)
	require.Equal(t, app, session.AgentOf(r), "no browser")
}

func TestAgentOf_is_what_both_databases_keep(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"": "", "curl/8": "curl/8", "a\x00b": "ab", "a\xffb": "ab",
		strings.Repeat("x", 300):        strings.Repeat("x", 200),
		strings.Repeat("x", 199) + "ü!": strings.Repeat("x", 199),
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header["User-Agent"] = []string{sent}
		got := session.AgentOf(r)
		require.Equal(t, want, got)
		require.True(t, utf8.ValidString(got))
	}
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, agent := range []string{"a\xffb", strings.Repeat("ü", 150), `"><svg onload=1>`} {
			b := w.Browser()
			b.Header.Set("User-Agent", agent)
			b.SignIn("alice")
			require.True(t, signedIn(b))
			b.Authorize("own").Code()
		}
	})
}
