package browser_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConsent_denied_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	photos := newAlbum(w)
	password := w.alice()
	b := newPerson(t, "en").tab()
	b.open(photos.begin())
	b.signIn("alice", password)
	b.find(".page-consent")
	b.submit("[value=deny]")
	require.Equal(t, "access_denied", b.text("#refused"))
	require.Nil(t, photos.last().token)

	// Nothing was remembered, least of all a permission: the next request asks again.
	b.open(w.issuer + "/account")
	b.says("main", "alice@example.com")
	require.False(t, b.has("[value=withdraw]"))
	require.False(t, b.has("[value=end_session]"))
	b.open(photos.begin())
	b.find(".page-consent")
	b.submit("[value=allow]")
	b.find("#hello")

	// A permission that is taken back is asked for again, and what was had by it is over.
	b.open(w.issuer + "/account")
	b.submit("[value=withdraw]")
	b.find("[role=status]")
	require.False(t, b.has("[value=withdraw]"))
	require.False(t, b.has("[value=end_session]"))
	over := photos.last().token
	over.Expiry = over.Expiry.AddDate(-1, 0, 0)
	_, err := photos.oauth.TokenSource(photos.context(), over).Token()
	require.ErrorContains(t, err, "invalid_grant")
	b.open(photos.begin())
	b.find(".page-consent")

	// And what is asked beyond a permission is asked for, even of who just gave one.
	b.submit("[value=allow]")
	b.find("#hello")
	b.open(photos.begin("prompt", "consent"))
	b.find(".page-consent")
}

func TestConsent_as_somebody_else_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	photos := newAlbum(w)
	alice, bob := w.alice(), w.user("bob")
	b := newPerson(t, "en").tab()
	b.open(photos.begin())
	b.signIn("alice", alice)
	b.says(".page-consent .who", "alice")
	b.submit("[value=switch]")
	b.signIn("bob", bob)
	b.says(".page-consent .who", "bob")
	consent := b.where()
	b.submit("[value=allow]")
	b.find("#hello")
	bobs := photos.last().id.Subject

	// The Back button, and the button once more: there is no second code.
	b.open(consent)
	b.find(".page-done")
	require.Equal(t, 1, photos.count())

	b.open(photos.begin("prompt", "select_account"))
	b.says(".current", "bob")
	b.submit("[value=continue]")
	b.says("#hello", bobs)
	b.open(photos.begin("prompt", "login", "login_hint", "alice"))
	b.find(".page-sign_in")
	require.Equal(t, "alice", b.evaluate("document.getElementById('username').value"))
	b.signIn("alice", alice)
	b.says(".page-consent .who", "alice")
	b.submit("[value=allow]")
	b.find("#hello")
	require.NotEqual(t, bobs, photos.last().id.Subject)
}

// No browser here can open such an address. It must be the address that fails, not the
// page's own policy: browsers hold form-action against redirects too.
func TestConsent_of_an_application_with_a_scheme_of_its_own_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	password := w.alice()
	w.client("notes", "--name", "Notes", "--public", "--grant", "authorization_code", "--scope", "openid", "--redirect-uri", "com.example.notes:/callback")
	b := newPerson(t, "en").tab()
	b.open(w.issuer + "/oauth2/auth?" + url.Values{
		"client_id": {"notes"}, "response_type": {"code"}, "redirect_uri": {"com.example.notes:/callback"}, "scope": {"openid"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}.Encode())
	b.signIn("alice", password)
	b.find(".page-consent")
	b.click("[value=allow]")
	b.unloaded()
	require.Empty(t, b.complained())
}
