package doctor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/grantorhq/grantor/users"
)

// Each attempt answers the hole that it found, "" for none, or why it could not be made.
// A correct request goes with every wrong one, so that a server that refuses everything
// does not look safe.

// forms sends the sign-in form as another site could: without the page's token, and from
// another origin.
func (a *attack) forms(ctx context.Context, b *browser) (hole string, err error) {
	_, page, at, err := b.walk(ctx, a.guests, a.request(a.app), "password")
	if err != nil {
		return "", err
	}
	f, fields := a.fillIn(page.body)
	if fields == nil {
		return "", fmt.Errorf("%w: no sign-in page is shown", errNotTried)
	}
	action, err := resolve(at, f.action)
	if err != nil {
		return "", err
	}
	without := url.Values{}
	for name, values := range fields {
		without[name] = values
	}
	without.Del("csrf_token")
	stranger := a.browser()
	stranger.header["Origin"] = []string{"https://attacker.invalid"}
	for name, cookie := range b.cookies {
		stranger.cookies[name] = cookie
	}
	for _, try := range []struct {
		from *browser
		form url.Values
		what string
	}{{a.browser(), fields, "from another browser"}, {b, without, "without its token"}, {stranger, fields, "from another origin"}} {
		got, err := try.from.send(ctx, http.MethodPost, action, try.form)
		if err != nil {
			return "", err
		}
		if got.status < http.StatusBadRequest {
			return fmt.Sprintf("the sign-in form sent %s is answered %s", try.what, got.tell()), nil
		}
	}
	return "", nil
}

// cookies looks at all that the sign-in set. Those of a proxy are its own business.
func (a *attack) cookies(b *browser) {
	looked := map[string]bool{}
	for _, cookie := range b.set {
		if !strings.Contains(cookie.Name, "grantor-") || looked[cookie.Name] {
			continue
		}
		looked[cookie.Name] = true
		switch {
		case !cookie.HttpOnly:
			a.chart.fail("attack-cookies", "does something in front rewrite cookies?", "the cookie %s can be read by scripts", cookie.Name)
		case strings.HasPrefix(a.issuer, "https:") && !cookie.Secure:
			a.chart.fail("attack-cookies", "does something in front rewrite cookies?", "the cookie %s is sent over http, too", cookie.Name)
		case cookie.SameSite == http.SameSiteNoneMode || cookie.SameSite == http.SameSiteDefaultMode:
			a.chart.fail("attack-cookies", "does something in front rewrite cookies?", "the cookie %s is sent with requests of other sites", cookie.Name)
		}
	}
	if len(looked) == 0 {
		a.chart.fail("attack-cookies", "does something in front rename cookies?", "the sign-in set no cookie that is known")
	}
	a.chart.settle("attack-cookies")
}

func (a *attack) mixUp(ctx context.Context) (hole string, err error) {
	for _, pairs := range [][]string{nil, {"prompt", "none", "max_age", "bad"}} {
		told, _, _, err := a.signed.walk(ctx, a.guests, a.request(a.app, pairs...), "")
		switch {
		case err != nil:
			return "", err
		case told.Get("iss") != a.issuer:
			return "an answer of the authorization endpoint does not name the issuer", nil
		case told.Get("state") != "the state of the guest":
			return "an answer of the authorization endpoint does not bring the state back", nil
		}
	}
	return "", nil
}

// parallel is how many show one token at once.
const parallel = 8

func (a *attack) parallelRefresh(ctx context.Context) (hole string, err error) {
	t, err := a.login(ctx, a.app)
	if err != nil {
		return "", err
	}
	var all sync.WaitGroup
	var got [parallel]*answer
	var failed [parallel]error
	began := a.web.now()
	for i := range parallel {
		all.Go(func() { got[i], failed[i] = a.refresh(ctx, a.app, t.refresh) })
	}
	all.Wait()
	quick := a.web.now().Sub(began) < a.retry
	successors, refused, answered := map[string]bool{}, 0, 0
	for i := range parallel {
		if failed[i] != nil {
			continue // a busy server may say so: nothing can be concluded
		}
		answered++
		next, err := a.tokensOf(got[i])
		if err != nil {
			refused++
			continue
		}
		successors[next.refresh] = true
	}
	switch {
	case answered == 0:
		return "", failed[0]
	case len(successors) > 1:
		return fmt.Sprintf("one refresh token got %d different successors", len(successors)), nil
	case len(successors) == 0:
		return "of eight that showed one refresh token at once, nobody got a successor", nil
	case refused > 0 && quick:
		return fmt.Sprintf("of eight that showed one refresh token at once, %d were refused within the retry window", refused), nil
	}
	return "", nil
}

// heldUp is what the server takes for a request that something kept: it then refuses
// without ending the session.
const heldUp = 400 * time.Millisecond

func (a *attack) refreshReuse(ctx context.Context) (hole string, err error) {
	first, err := a.login(ctx, a.app)
	if err != nil {
		return "", err
	}
	second, err := a.renew(ctx, a.app, first.refresh)
	if err != nil {
		return "", err
	}
	third, err := a.renew(ctx, a.app, second.refresh)
	if err != nil {
		return "", err
	}
	for range 3 {
		got, err := a.refresh(ctx, a.app, first.refresh)
		if err != nil {
			return "", err
		}
		if got.status == http.StatusOK {
			return "a refresh token works that was renewed twice since", nil
		}
		alive, err := a.active(ctx, a.api, third.access)
		if err != nil {
			return "", err
		}
		if !alive {
			break
		}
		if got.took < heldUp {
			return "an old refresh token was shown, and its session goes on", nil
		}
	}
	got, err := a.refresh(ctx, a.app, third.refresh)
	if err != nil {
		return "", err
	}
	if got.status == http.StatusOK {
		return "an old refresh token was shown, and the newest one still works", nil
	}
	return "", nil
}

func (a *attack) codeReplay(ctx context.Context) (hole string, err error) {
	code, err := a.code(ctx, a.signed, a.app)
	if err != nil {
		return "", err
	}
	got, err := a.redeem(ctx, a.app, code)
	if err != nil {
		return "", err
	}
	if _, err := a.tokensOf(got); err != nil {
		return "", err
	}
	if got, err = a.redeem(ctx, a.app, code); err != nil {
		return "", err
	}
	if got.status == http.StatusOK {
		return "a code was redeemed twice", nil
	}
	return "", nil
}

func (a *attack) codeVerifier(ctx context.Context) (hole string, err error) {
	code, err := a.code(ctx, a.signed, a.app)
	if err != nil {
		return "", err
	}
	// Some servers forget the challenge after the first wrong try.
	for _, try := range [][2]string{{"another-verifier-that-is-as-long-as-one-has-to-be", "with another verifier"}, {"-", "without a verifier"}, {"-", "without a verifier, the second time"}} {
		got, err := a.redeem(ctx, a.app, code, "code_verifier", try[0])
		if err != nil {
			return "", err
		}
		if got.status == http.StatusOK {
			return "a code was redeemed " + try[1], nil
		}
	}
	return "", nil
}

func (a *attack) pkceDowngrade(ctx context.Context) (hole string, err error) {
	for _, try := range []struct {
		what  string
		pairs []string
	}{
		{"without a challenge", []string{"code_challenge", "-", "code_challenge_method", "-"}},
		{"with the challenge in plain", []string{"code_challenge", verifier, "code_challenge_method", "plain"}},
		{"with a challenge and no method, which means plain", []string{"code_challenge_method", "-"}},
	} {
		told, _, _, err := a.signed.walk(ctx, a.guests, a.request(a.app, try.pairs...), "")
		if err != nil {
			return "", err
		}
		if told.Get("code") != "" {
			return "a request " + try.what + " got a code", nil
		}
	}
	return "", nil
}

func (a *attack) redirectURI(ctx context.Context) (hole string, err error) {
	host := strings.TrimSuffix(strings.TrimPrefix(callback, "https://"), "/callback")
	for _, uri := range []string{
		callback + "/more", callback + "?more=1", callback + "/../other", callback + "%2f", callback + "#", strings.ToUpper(callback),
		"http://" + host + "/callback", "https://" + host + ":8443/callback", "https://" + host + "./callback",
		"https://" + host + "@attacker.invalid/callback", "https://" + host + ".attacker.invalid/callback", "https://attacker.invalid/callback",
		"https://attacker.invalid\\@" + host + "/callback", "//" + host + "/callback", "javascript:alert(1)",
	} {
		got, err := a.signed.send(ctx, http.MethodGet, a.request(a.app, "redirect_uri", uri), nil)
		if err != nil {
			return "", err
		}
		if got.status < http.StatusBadRequest || got.location() != "" {
			return fmt.Sprintf("a request with the redirect URI %q is answered %s", uri, got.tell()), nil
		}
	}
	return "", nil
}

func (a *attack) wrongAudience(ctx context.Context) (hole string, err error) {
	t, err := a.login(ctx, a.app, "resource", a.audience)
	if err != nil {
		return "", err
	}
	if ours, err := a.active(ctx, a.api, t.access); err != nil {
		return "", err
	} else if !ours {
		return "", fmt.Errorf("%w: the API that a token is for is told that it is not active", errNotTried)
	}
	for _, as := range []guest{a.foreign, a.other} {
		if told, err := a.active(ctx, as, t.access); err != nil {
			return "", err
		} else if told {
			return "a token for one API is active for another", nil
		}
	}
	info, err := a.userinfo(ctx, t.access)
	if err != nil {
		return "", err
	}
	if info.status != http.StatusUnauthorized {
		return "a token for an API is answered " + info.tell() + " by userinfo", nil
	}
	got, err := a.refresh(ctx, a.app, t.refresh, "resource", a.strange)
	if err != nil {
		return "", err
	}
	if got.status == http.StatusOK {
		return "a client got a token for an audience that it is not registered for", nil
	}
	return "", nil
}

func (a *attack) foreignClient(ctx context.Context) (hole string, err error) {
	code, err := a.code(ctx, a.signed, a.app)
	if err != nil {
		return "", err
	}
	got, err := a.redeem(ctx, a.other, code)
	if err != nil {
		return "", err
	}
	if got.status == http.StatusOK {
		return "a client redeemed another client's code", nil
	}
	if got, err = a.redeem(ctx, a.app, code); err != nil {
		return "", err
	}
	t, err := a.tokensOf(got)
	if err != nil {
		return "", err
	}
	if got, err = a.refresh(ctx, a.other, t.refresh); err != nil {
		return "", err
	}
	if got.status == http.StatusOK {
		return "a client renewed another client's session", nil
	}
	for _, token := range []string{t.refresh, t.access} {
		if got, err = a.ask(ctx, a.other, a.meta.Revocation, url.Values{"token": {token}}); err != nil {
			return "", err
		}
		if got.status == http.StatusOK {
			return "a client revoked another client's token", nil
		}
	}
	if got, err = a.refresh(ctx, a.app, t.refresh); err != nil {
		return "", err
	}
	if got.status != http.StatusOK {
		return "a client ended another client's session", nil
	}
	return "", nil
}

func (a *attack) revocation(ctx context.Context) (hole string, err error) {
	t, err := a.login(ctx, a.app)
	if err != nil {
		return "", err
	}
	both, err := a.login(ctx, a.app, "resource", a.audience)
	if err != nil {
		return "", err
	}
	if alive, err := a.active(ctx, a.api, both.access); err != nil || !alive {
		return "", fmt.Errorf("%w: a new token is not active: %w", errNotTried, err)
	}
	for _, end := range []struct{ token, what string }{{t.access, "access"}, {both.refresh, "refresh"}} {
		got, err := a.ask(ctx, a.app, a.meta.Revocation, url.Values{"token": {end.token}})
		if err != nil {
			return "", err
		}
		if got.status != http.StatusOK {
			return fmt.Sprintf("a client can not revoke its own %s token (%s)", end.what, got.tell()), nil
		}
	}
	info, err := a.userinfo(ctx, t.access)
	if err != nil {
		return "", err
	}
	if info.status == http.StatusOK {
		return "a revoked access token still works at userinfo", nil
	}
	if alive, err := a.active(ctx, a.api, both.access); err != nil {
		return "", err
	} else if alive {
		return "the access token of a revoked session is active", nil
	}
	got, err := a.refresh(ctx, a.app, both.refresh)
	if err != nil {
		return "", err
	}
	if got.status == http.StatusOK {
		return "a revoked refresh token still works", nil
	}
	return "", nil
}

func (a *attack) forgedToken(ctx context.Context) (hole string, err error) {
	t, err := a.login(ctx, a.app)
	if err != nil {
		return "", err
	}
	honest, err := a.userinfo(ctx, t.access)
	if err != nil {
		return "", err
	}
	parts := strings.Split(t.access, ".")
	claims := claimsOf(t.access)
	if honest.status != http.StatusOK || claims == nil {
		return "", fmt.Errorf("%w: userinfo answers %s to a right token", errNotTried, honest.tell())
	}
	encode := base64.RawURLEncoding.EncodeToString
	claims["aud"] = []string{a.issuer, a.audience, a.strange}
	changed, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	none := encode([]byte(`{"alg":"none","typ":"at+jwt"}`))
	for _, forged := range []struct{ token, what string }{
		{none + "." + parts[1] + ".", "with alg none"},
		{none + "." + parts[1] + "." + parts[2], "with alg none and the old signature"},
		{parts[0] + "." + encode(changed) + "." + parts[2], "with other claims"},
		{parts[0] + "." + parts[1] + ".", "without its signature"},
		{parts[0] + "." + parts[1] + "." + encode(make([]byte, 64)), "signed with zeros"},
	} {
		info, err := a.userinfo(ctx, forged.token)
		if err != nil {
			return "", err
		}
		alive, err := a.active(ctx, a.foreign, forged.token)
		if err != nil {
			return "", err
		}
		if info.status != http.StatusUnauthorized || alive {
			return "a token " + forged.what + " is accepted", nil
		}
	}
	return "", nil
}

func (a *attack) clientSecret(ctx context.Context) (hole string, err error) {
	for _, wrong := range []struct{ secret, what string }{
		{a.other.secret, "with another client's secret"}, {"", "with an empty secret"}, {a.app.secret + "x", "with a secret that is longer"},
	} {
		got, err := a.ask(ctx, guest{id: a.app.id, secret: wrong.secret}, a.meta.Token, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"none"}})
		if err != nil {
			return "", err
		}
		if got.status != http.StatusUnauthorized || got.member("error") != "invalid_client" {
			return "a client " + wrong.what + " is answered " + got.tell(), nil
		}
		if got.header.Get("WWW-Authenticate") == "" {
			return "a client " + wrong.what + " is refused without a WWW-Authenticate", nil
		}
	}
	got, err := a.web.post(ctx, a.meta.Token, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"none"}, "client_id": {a.app.id}}, nil)
	if err != nil {
		return "", err
	}
	if got.member("error") != "invalid_client" {
		return "a confidential client without a secret is answered " + got.tell(), nil
	}
	return "", nil
}

// guessing goes on until the account has to wait. Behind a confidential client no address
// is counted (docs/decisions/0017), so nobody but the guest is kept out.
func (a *attack) guessing(ctx context.Context) (hole string, err error) {
	form := url.Values{"grant_type": {"password"}, "username": {a.user}, "password": {"not the password"}, "scope": {"openid"}}
	for range users.FreeFailures + 2 {
		got, err := a.ask(ctx, a.other, a.meta.Token, form)
		switch {
		case err != nil:
			return "", err
		case got.status == http.StatusTooManyRequests:
			return "", nil
		case got.status == http.StatusOK:
			return "a wrong password is accepted", nil
		}
	}
	return fmt.Sprintf("%d wrong passwords in a row, and the next one does not have to wait", users.FreeFailures+2), nil
}
