package conformance_test

import (
	"time"

	"github.com/stretchr/testify/require"
)

func promptLogin(p *party) {
	before := p.complete()
	p.Clock.Advance(time.Second)
	p.signedInAgain(before, p.ask("prompt", "login"))
}

func maxAge1(p *party) {
	before := p.complete()
	p.Clock.Advance(2 * time.Second)
	p.signedInAgain(before, p.ask("max_age", "1"))
}

// signedInAgain ends the test unless the person has to type the password again, and the
// client hears of it.
func (p *party) signedInAgain(before, f *flow) {
	p.t.Helper()
	f.asksPassword().finish()
	require.NotNil(p.t, f.idToken.AuthTime)
	require.True(p.t, f.idToken.AuthTime.Time().After(before.idToken.AuthTime.Time()))
	require.WithinDuration(p.t, p.Clock.Now(), f.idToken.AuthTime.Time(), time.Second)
	require.Equal(p.t, before.idToken.Subject, f.idToken.Subject)
}

func promptNoneNotLoggedIn(p *party) { p.notSignedIn() }

// notSignedIn ends the test unless a request without pages is refused for the want of one.
func (p *party) notSignedIn() {
	p.t.Helper()
	p.ask("prompt", "none").refused("login_required", "interaction_required", "account_selection_required", "consent_required")
}

func promptNoneLoggedIn(p *party) {
	before := p.complete()
	p.Clock.Advance(time.Second)
	p.sameSignIn(before, p.ask("prompt", "none"))
}

func idTokenHint(p *party) {
	before := p.complete()
	p.Clock.Advance(time.Second)
	p.sameSignIn(before, p.ask("prompt", "none", "id_token_hint", before.tokens.Text("id_token")))
}

func maxAge10000(p *party) {
	before := p.complete("max_age", "15000")
	require.NotNil(p.t, before.idToken.AuthTime)
	p.Clock.Advance(time.Second)
	p.sameSignIn(before, p.ask("max_age", "10000"))
}

// sameSignIn ends the test unless the request is answered without a page, for the
// person and the moment of the one before.
func (p *party) sameSignIn(before, f *flow) {
	p.t.Helper()
	f.coded().granted()
	require.NotNil(p.t, f.idToken.AuthTime)
	require.Equal(p.t, before.idToken.AuthTime, f.idToken.AuthTime)
	require.Equal(p.t, before.idToken.Subject, f.idToken.Subject)
}
