package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// attack is one run against the live server.
type attack struct {
	*guests
	chart  *chart
	web    *web
	meta   metadata
	issuer string
	retry  time.Duration // the server's retry window
	signed *browser      // the guest is signed in here, and allowed both applications
}

// errNotTried wraps why an attack could not be made: the server is busy, or gone.
var errNotTried = errors.New("it could not be tried")

// checkAttacks makes guests, lets them try everything, and removes them.
func (p *Patient) checkAttacks(ctx context.Context, c *chart, w *web, meta metadata, reached bool) {
	switch {
	case p.Guests == nil:
		c.stopGroup(Attacks, "they were not asked for")
		return
	case !reached:
		c.stopGroup(Attacks, "the server at the issuer is not known to be this database's")
		return
	}
	run, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	removed, waiting, err := p.sweep(run)
	if err != nil {
		c.fail("attack-removal", "run it again", "what an earlier run left can not be removed: %v", err)
	} else if waiting > 0 {
		c.warn("attack-removal", "when no other doctor is at work, run it again in three minutes: it removes what is there", "%d clients and users of another run are there", waiting)
	}
	g, err := p.invite(run)
	if g != nil {
		defer func() {
			if err := g.remove(ctx); err != nil {
				c.fail("attack-removal", "run it again in three minutes: it removes what is there", "not all of %s can be removed: %v", g.user, err)
				return
			}
			if removed > 0 && !c.has("attack-removal", Fail) && !c.has("attack-removal", Warn) {
				c.good("attack-removal", "all that was made is removed, and %d clients and users that an earlier run left", removed)
			}
			c.settle("attack-removal")
		}()
	}
	if err != nil {
		c.fail("attack-setup", "may the doctor write to the database?", "%v", err)
		c.stopGroup(Attacks, "there is nobody to attack with")
		return
	}
	a := &attack{guests: g, chart: c, web: w, meta: meta, issuer: p.Issuer, retry: p.Config.RetryWindow}
	if !a.setUp(run) {
		c.stopGroup(Attacks, "there is nobody to attack with")
		return
	}
	for _, one := range []struct {
		check string
		try   func(context.Context) (hole string, err error)
	}{
		{"attack-mix-up", a.mixUp},
		{"attack-parallel-refresh", a.parallelRefresh},
		{"attack-refresh-reuse", a.refreshReuse},
		{"attack-code-replay", a.codeReplay},
		{"attack-code-verifier", a.codeVerifier},
		{"attack-pkce-downgrade", a.pkceDowngrade},
		{"attack-redirect-uri", a.redirectURI},
		{"attack-audience", a.wrongAudience},
		{"attack-foreign-client", a.foreignClient},
		{"attack-revocation", a.revocation},
		{"attack-forged-token", a.forgedToken},
		{"attack-client-secret", a.clientSecret},
		{"attack-guessing", a.guessing}, // last: from then on the guest has to wait
	} {
		if run.Err() != nil {
			c.stopGroup(Attacks, "the time was up, or it was interrupted")
			return
		}
		hole, err := one.try(run)
		switch {
		case err != nil && run.Err() != nil:
		case err != nil:
			c.warn(one.check, "look into the server's log, and run it again", "it could not be tried: %v", err)
		case hole != "":
			c.fail(one.check, "is something in front that rewrites or caches? Otherwise Grantor is broken: report it as SECURITY.md says", "%s", hole)
		default:
			c.settle(one.check)
		}
	}
}

// setUp waits until the server knows the guests, and signs the user in.
func (a *attack) setUp(ctx context.Context) bool {
	c := a.chart
	if err := a.known(ctx); err != nil {
		c.fail("attack-setup", "give the doctor the settings of the server at the issuer", "the server at %s does not know a client that was just made in this database: %v", a.issuer, err)
		return false
	}
	forged, err := a.forgedAddress()
	if err != nil {
		c.fail("attack-setup", "try again", "%v", err)
		return false
	}
	b := a.browser()
	b.header["X-Forwarded-For"] = []string{forged}
	hole, err := a.forms(ctx, b)
	if err == nil {
		_, err = a.code(ctx, b, a.app)
	}
	if err != nil {
		c.fail("attack-setup", "can people sign in? Look into the server's log", "the guest can not sign in: %v", err)
		return false
	}
	c.settle("attack-setup")
	if hole != "" {
		c.fail("attack-forms", "does something in front remove cookies, Origin or Sec-Fetch-Site?", "%s", hole)
	}
	c.settle("attack-forms")
	a.cookies(b)
	a.addresses(ctx, forged)
	delete(b.header, "X-Forwarded-For")
	a.signed = b
	return true
}

// forgedAddress is one that nobody has: RFC 3849.
func (a *attack) forgedAddress() (string, error) {
	var raw [2]byte
	if _, err := io.ReadFull(a.patient.Rand, raw[:]); err != nil {
		return "", err
	}
	return fmt.Sprintf("2001:db8::%x", 1+uint16(raw[0])<<8|uint16(raw[1])), nil
}

func (a *attack) addresses(ctx context.Context, forged string) {
	list, err := a.patient.Guests.Browsers(ctx, a.userID)
	if err != nil || len(list) == 0 {
		a.chart.warn("proxy-forged", "try again", "the sign-in of the guest was not found: %v", err)
		return
	}
	_, via := a.answerVia(ctx)
	a.patient.judgeAddress(a.chart, list[0].Address, forged, a.web.from.get(), via)
}

// answerVia tells whether a proxy says that it is there. Grantor sends neither header.
func (a *attack) answerVia(ctx context.Context) (*answer, bool) {
	got, err := a.web.get(ctx, a.meta.JWKS)
	if err != nil {
		return nil, false
	}
	return got, got.header.Get("Via") != "" || got.header.Get("Server") != ""
}

// known waits for the guests' registrations: replicas learn of them within two seconds.
func (a *attack) known(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for _, g := range []guest{a.app, a.other, a.api, a.foreign} {
		for {
			got, err := a.ask(ctx, g, a.meta.Introspection, url.Values{"token": {"unknown"}})
			if err == nil && got.status == http.StatusOK {
				break
			}
			select {
			case <-ctx.Done():
				if err == nil {
					err = fmt.Errorf("it answers %s", got.tell())
				}
				return err
			case <-tick.C:
			}
		}
	}
	return nil
}

// ask sends a form as a client.
func (a *attack) ask(ctx context.Context, as guest, endpoint string, form url.Values) (*answer, error) {
	credentials := base64.StdEncoding.EncodeToString([]byte(as.id + ":" + as.secret))
	got, err := a.web.post(ctx, endpoint, form, http.Header{"Authorization": {"Basic " + credentials}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotTried, err)
	}
	if got.status >= http.StatusInternalServerError {
		return nil, fmt.Errorf("%w: the server answers %s", errNotTried, got.tell())
	}
	return got, nil
}

// verifier is the code_verifier of every request. It need not be secret: the code is.
const verifier = "grantor-doctor-has-one-verifier-for-all-its-codes"

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// request is the address of a correct authorization request, changed by pairs; "-" takes
// a parameter out.
func (a *attack) request(as guest, pairs ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {as.id}, "redirect_uri": {callback}, "scope": {"openid profile"},
		"state": {"the state of the guest"}, "nonce": {"a nonce"}, "code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "-" {
			q.Del(pairs[i])
			continue
		}
		q.Set(pairs[i], pairs[i+1])
	}
	return a.meta.Authorization + "?" + q.Encode()
}

// code gets one, through the pages where they are shown.
func (a *attack) code(ctx context.Context, b *browser, as guest, pairs ...string) (code string, err error) {
	told, _, _, err := b.walk(ctx, a.guests, a.request(as, pairs...), "")
	if err != nil {
		return "", err
	}
	if told.Get("code") == "" {
		return "", fmt.Errorf("there is no code but %s", told.Get("error"))
	}
	return told.Get("code"), nil
}

// tokens is what a client gets.
type tokens struct{ access, refresh string }

func (a *attack) redeem(ctx context.Context, as guest, code string, pairs ...string) (*answer, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "-" {
			form.Del(pairs[i])
			continue
		}
		form.Set(pairs[i], pairs[i+1])
	}
	return a.ask(ctx, as, a.meta.Token, form)
}

func (a *attack) refresh(ctx context.Context, as guest, token string, pairs ...string) (*answer, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return a.ask(ctx, as, a.meta.Token, form)
}

// login is a new session of the guest at an application.
func (a *attack) login(ctx context.Context, as guest, pairs ...string) (tokens, error) {
	code, err := a.code(ctx, a.signed, as, pairs...)
	if err != nil {
		return tokens{}, err
	}
	got, err := a.redeem(ctx, as, code)
	if err != nil {
		return tokens{}, err
	}
	return a.tokensOf(got)
}

func (a *attack) tokensOf(got *answer) (tokens, error) {
	t := tokens{got.member("access_token"), got.member("refresh_token")}
	if got.status != http.StatusOK || t.access == "" || t.refresh == "" {
		return t, fmt.Errorf("%w: a correct request was answered with %s", errNotTried, got.tell())
	}
	if jti, _ := claimsOf(t.access)["jti"].(string); jti != "" {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.jtis = append(a.jtis, jti)
	}
	return t, nil
}

// renew is an ordinary refresh that must succeed.
func (a *attack) renew(ctx context.Context, as guest, token string) (tokens, error) {
	got, err := a.refresh(ctx, as, token)
	if err != nil {
		return tokens{}, err
	}
	return a.tokensOf(got)
}

// active asks an API's question about a token.
func (a *attack) active(ctx context.Context, as guest, token string) (bool, error) {
	got, err := a.ask(ctx, as, a.meta.Introspection, url.Values{"token": {token}})
	if err != nil {
		return false, err
	}
	said, isBool := got.object()["active"].(bool)
	if got.status != http.StatusOK || !isBool {
		return false, fmt.Errorf("%w: introspection answers %s", errNotTried, got.tell())
	}
	return said, nil
}

func (a *attack) userinfo(ctx context.Context, token string) (*answer, error) {
	got, err := a.web.send(ctx, http.MethodGet, a.meta.Userinfo, nil, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotTried, err)
	}
	if got.status >= http.StatusInternalServerError {
		return nil, fmt.Errorf("%w: userinfo answers %s", errNotTried, got.tell())
	}
	return got, nil
}

// claimsOf reads a JWT unverified: the doctor asks only what to break of it.
func claimsOf(token string) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims map[string]any
	if json.Unmarshal(raw, &claims) != nil {
		return nil
	}
	return claims
}
