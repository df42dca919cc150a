package browser_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every page that people see, as pictures to look at, in each language.
func TestPages_Browser(t *testing.T) {
	t.Parallel()
	for language, looks := range map[string][]look{"en": {light, dark, narrow}, "de": {light, narrow}} { // colours know no language
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			photos := newAlbum(w)
			password := w.alice()
			p := newPerson(t, language)
			b := p.tab()
			shot := func(name string) {
				t.Helper()
				require.Equal(t, language, b.evaluate("document.documentElement.lang"))
				b.shot(name+"."+language, looks...)
			}

			b.open(photos.begin())
			b.find(".page-sign_in")
			shot("sign_in")
			b.signIn("alice", "wrong")
			wrong := b.text("#fault")
			shot("sign_in_error")
			w.throttle("mallory")
			for b.text("#fault") == wrong {
				b.signIn("mallory", "wrong")
			}
			shot("sign_in_throttled")
			require.NotContains(t, b.text("#fault"), "{{")

			b.open(photos.begin())
			b.signIn("alice", password)
			b.find(".page-consent")
			shot("consent")
			b.submit("[value=allow]")
			b.find("#hello")

			// A program on the device, which nobody can tell from another.
			w.client("notes", "--name", "Notes", "--public", "--grant", "authorization_code", "--grant", "refresh_token", "--scope", "openid offline_access", "--redirect-uri", "http://127.0.0.1/bye")
			b.open(w.issuer + "/oauth2/auth?" + url.Values{
				"client_id": {"notes"}, "response_type": {"code"}, "redirect_uri": {photos.url + "/bye"}, "scope": {"openid offline_access"},
				"state": {"a state of its own"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
			}.Encode())
			b.find(".page-consent .warning")
			shot("consent_native")
			consent := b.where()
			b.submit("[value=allow]")
			b.find("#bye")
			code := b.where()
			// The Back button: such a program is never remembered, so the button is there again.
			b.open(consent)
			b.submit("[value=allow]")
			b.find(".page-done a.button")
			shot("done")
			b.submit(".page-done a.button")
			require.Equal(t, queryOf(t, code), queryOf(t, b.where()), "the same answer, and no second code")

			b.open(photos.begin("prompt", "select_account"))
			b.find(".current")
			shot("sign_in_choose")

			other := newPerson(t, language).tab()
			other.open(w.issuer + "/account")
			other.signIn("alice", password)
			other.find(".page-account")
			b.open(w.issuer + "/account")
			b.find("[value=end_browser]")
			shot("account")
			b.submit("[value=end_browser]")
			b.find("[role=status]")
			shot("account_notice")

			b.open(w.issuer + "/oauth2/auth?client_id=album&redirect_uri=https://evil.test/&response_type=code")
			b.find(".page-problem")
			shot("problem")
			require.Contains(t, b.where(), w.issuer)
			b.open(w.issuer + "/nothing")
			b.find(".page-problem")
			shot("problem_notfound")

			quiet := p.tab()
			quiet.withoutScripts()
			quiet.open(photos.begin("response_mode", "form_post"))
			quiet.find(".page-form_post")
			quiet.shot("form_post."+language, looks...)

			out := w.issuer + "/oauth2/logout?" + url.Values{"client_id": {"album"}, "post_logout_redirect_uri": {photos.url + "/bye"}, "state": {"x"}}.Encode()
			b.open(out)
			b.find(".page-sign_out")
			shot("sign_out")
			b.submit("[value=stay]")
			b.find(".page-account")
			b.open(out)
			b.submit("[value=signout]")
			b.find("#bye")
			require.Equal(t, photos.url+"/bye?state=x", b.where())
			b.open(w.issuer + "/oauth2/logout")
			b.find(".page-signed_out")
			shot("signed_out")
		})
	}
}

func queryOf(t *testing.T, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	require.NotEmpty(t, u.Query().Get("code"))
	return u.Query()
}

// throttle guesses a password by the password grant until there is a wait: the sign-in
// page counts the same failures.
func (w *world) throttle(name string) {
	w.t.Helper()
	secret := w.client("guesser", "--grant", "password")
	for range 20 {
		answer, err := http.PostForm(w.issuer+"/oauth2/token", url.Values{
			"grant_type": {"password"}, "client_id": {"guesser"}, "client_secret": {secret}, "username": {name}, "password": {"wrong"},
		})
		require.NoError(w.t, err)
		require.NoError(w.t, answer.Body.Close())
		if answer.StatusCode == http.StatusTooManyRequests {
			return
		}
	}
	require.Fail(w.t, "never throttled")
}

// What every test here relies on: a tab hears when a policy refuses something.
func TestTab_hears_what_a_policy_refuses_Browser(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]string{
		"a script":         `<script>window.ran = true</script>`,
		"a style":          `<p style="color: red">red</p>`,
		"a picture":        `<img src="/logo.png">`,
		"a form's address": `<form method="post" action="http://127.0.0.1:1/"><button autofocus>Send</button></form>`,
		"a script's error": `<script nonce="n">undefined.no()</script>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needChromium(t)
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "text/html; charset=utf-8")
				rw.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-n'; form-action 'self'")
				_, _ = rw.Write([]byte("<!doctype html>" + page))
			}))
			t.Cleanup(server.Close)
			b := newPerson(t, "en").tab()
			b.open(server.URL)
			if b.has("button") {
				b.click("button")
			}
			require.Eventually(t, func() bool { return len(b.complained()) > 0 }, patience, tick)
			b.open("about:blank") // nothing more comes
			b.complained()
		})
	}
}
