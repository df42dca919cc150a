package browser_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAccount_ends_what_is_somewhere_else_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := newSPA(w)
	password := w.alice()
	home, work := newPerson(t, "en").tab(), newPerson(t, "en").tab()
	for _, b := range []*tab{home, work} {
		b.open(app)
		b.submit("#sign-in")
		b.signIn("alice", password)
		b.settled("signed-in")
		b.open(w.issuer) // leads to the account
		b.says(".page-account", "alice@example.com")
	}
	home.reload()
	require.Equal(t, 2.0, home.evaluate(`document.querySelectorAll("[aria-labelledby=browsers] > ul > li").length`))
	require.Equal(t, 2.0, home.evaluate(`document.querySelectorAll("[value=end_session]").length`))
	require.Contains(t, home.text("[aria-labelledby=browsers]"), "Chrome on Linux")
	require.Contains(t, home.text("[aria-labelledby=browsers]"), "127.0.0.1")

	// The other browser: its sign-in ends, and what began from it.
	home.submit("[value=end_browser]")
	home.find("[role=status]")
	require.False(t, home.has("[value=end_browser]"))
	require.Equal(t, 1.0, home.evaluate(`document.querySelectorAll("[value=end_session]").length`))
	work.reload()
	work.find(".page-sign_in")
	work.open(app)
	work.settled("signed-out")

	// One application of this browser; the browser itself stays signed in.
	home.submit("[value=end_session]")
	home.find("[role=status]")
	require.False(t, home.has("[value=end_session]"))
	refused := w.front.grants("refresh_token", http.StatusBadRequest)
	home.open(app)
	home.settled("signed-out")
	require.Equal(t, refused+1, w.front.grants("refresh_token", http.StatusBadRequest))
	home.click("#sign-in")
	home.settled("signed-in")
}

func TestAccount_changes_the_password_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	password := w.alice()
	home, work := newPerson(t, "en").tab(), newPerson(t, "en").tab()
	for _, b := range []*tab{home, work} {
		b.open(w.issuer + "/account")
		b.signIn("alice", password)
		b.find(".page-account")
	}
	const next = "a completely new password"
	change := func(current, repeat string) {
		home.fill("#current-password", current)
		home.fill("#new-password", next)
		home.fill("#repeat-password", repeat)
		home.submit("form:has(#new-password) button")
	}
	change(password, next+"!")
	home.find("#fault")
	home.until("document.activeElement.id === 'repeat-password'")
	change("wrong password", next)
	home.find("#fault")
	home.until("document.activeElement.id === 'current-password'")
	change(password, next)
	home.find("[role=status]")
	work.reload()
	work.signIn("alice", password)
	work.find("#fault")
	work.signIn("alice", next)
	work.find(".page-account")
}
