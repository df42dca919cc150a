package browser_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The whole way, on both databases: a stranger's application gets tokens, and never
// sees the password.
func TestSignIn_for_a_strangers_application_Browser(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		photos := newAlbum(w)
		password := w.alice()
		b := newPerson(t, "en").tab()

		b.open(photos.url)
		b.submit("#sign-in")
		b.says(".page-sign_in", "Photo Album")
		require.Contains(t, b.where(), w.issuer+"/login?")
		b.signIn("alice", password)

		b.says(".page-consent h1", "Photo Album")
		require.Contains(t, b.text(".page-consent"), "alice")
		require.Contains(t, b.text(".host"), photos.url[len("http://"):], "where the answer goes")
		for _, words := range []string{"identifier", "e-mail", "profile", "photos.read"} {
			require.Contains(t, b.text(".permissions"), words)
		}
		b.submit("[value=allow]")

		b.says("#hello", "Hello, ")
		first := photos.last()
		require.NotEmpty(t, first.token.AccessToken)
		require.NotEmpty(t, first.token.RefreshToken)
		require.NotEmpty(t, first.id.Subject)
		require.Equal(t, "GET", first.method)
		renewed := first.token
		renewed.Expiry = renewed.Expiry.AddDate(-1, 0, 0)
		again, err := photos.oauth.TokenSource(photos.context(), renewed).Token()
		require.NoError(t, err)
		require.NotEqual(t, first.token.RefreshToken, again.RefreshToken)

		// Signed in and allowed before: nobody is asked anything.
		b.open(photos.url)
		b.submit("#sign-in")
		b.says("#hello", first.id.Subject)
		require.Equal(t, 2, photos.count())
	})
}

func TestSignIn_with_a_wrong_password_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	photos := newAlbum(w)
	password := w.alice()
	p := newPerson(t, "en")
	b := p.tab()
	b.open(photos.url)
	b.submit("#sign-in")
	b.until("document.activeElement.id === 'username'") // one can type at once

	b.signIn("alice", password+"x")
	fault := b.text("#fault")
	require.Contains(t, fault, "wrong")
	require.Regexp(t, "^Error: ", b.evaluate("document.title"))
	require.Equal(t, "alice", b.evaluate("document.getElementById('username').value"))
	require.Equal(t, "", b.evaluate("document.getElementById('password').value"))
	b.until("document.activeElement.id === 'password'") // what is to be typed again has the focus
	for _, id := range []string{"username", "password"} {
		require.Equal(t, "fault", b.evaluate("document.getElementById('"+id+"').getAttribute('aria-describedby')"))
		require.Equal(t, "true", b.evaluate("document.getElementById('"+id+"').ariaInvalid"))
	}
	require.Equal(t, "alert", b.evaluate("document.getElementById('fault').role"))
	for _, c := range p.cookies() {
		require.NotContains(t, c.Name, "session")
	}

	b.signIn("nobody", password)
	require.Equal(t, fault, b.text("#fault"), "as for a name that somebody has")
	require.Zero(t, photos.count())

	b.signIn("alice@example.com", password) // the request is still the album's
	b.find(".page-consent")
}
