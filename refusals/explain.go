package refusals

import (
	"fmt"
	"strings"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// Known is what the database says now about what a refusal names. It may be later than
// what was known then, and says so where it matters.
type Known struct {
	Unasked bool            // the database could not be asked: all of the below are missing
	Session *grants.Grant   // nil: the row is gone
	Caller  *clients.Client // nil: not registered
	Owner   *clients.Client // of the session; nil: not registered
	User    *users.User     // of the session, or the one whose password was asked for; nil: none

	Limits grants.Limits // of the session's client
}

// Explanation is what an operator reads.
type Explanation struct {
	Why    []string // sentences
	Advice []string
}

func (e *Explanation) because(format string, args ...any) {
	e.Why = append(e.Why, fmt.Sprintf(format, args...))
}

func (e *Explanation) advise(format string, args ...any) {
	e.Advice = append(e.Advice, fmt.Sprintf(format, args...))
}

// Explain says exactly why a request was refused, as far as the refusal and the rows can
// tell, and what to do about it.
func Explain(r Refusal, k Known) Explanation {
	var e Explanation
	switch r.Cause {
	case Reused:
		e.reused(r, k)
	case Overtaken:
		e.overtaken(r)
	case Idle:
		e.idle(r, k)
	case Dead, SessionOver:
		e.dead(r, k)
	case Replayed:
		e.replayed(r)
	case UnknownClient, Unlisted:
		e.unknownClient(r, k)
	case WrongSecret, NoSecret, WrongMethod, PublicSecret, PublicAsks:
		e.authentication(r, k)
	case NotTheirCode, ForeignRefresh, ForeignAccess:
		e.foreign(r, k)
	case WrongPassword, NoSuchUser, UserDisabled, Throttled:
		e.password(r, k)
	case Expired:
		e.because("The access token had expired at %s, %s before it was shown.", stamp(r.Ended), r.ago(r.Ended))
		e.advise("Nothing is wrong here: the client renews its access token and asks again. If it just had, compare the clocks of its machine and of this one.")
	default:
		e.rest(r, k)
	}
	return e
}

// stamp is a time as operators compare it with their logs.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (r Refusal) caller() string {
	switch {
	case r.Client == "":
		return "a client"
	case r.Cut:
		return "client " + r.Client + "…"
	}
	return "client " + r.Client
}

func from(address string) string {
	if address == "" {
		return "an unknown address"
	}
	return address
}

func (e *Explanation) reused(r Refusal, k Known) {
	if r.Row == nil {
		e.because("A refresh token that was renewed before was shown again.")
	} else {
		e.because("%s showed the refresh token of generation %d, but session %s had been renewed since: it was at generation %d.", upper(r.caller()), r.Shown, r.Session, r.Row.Generation)
		e.because("The last renewal was %s before, at %s, by the same client from %s; this request came from %s.", r.ago(r.Row.RotatedAt), stamp(r.Row.RotatedAt), from(r.Row.RotatedFrom), r.other())
		if r.Row.Generation == r.Shown+1 && k.Limits.Retry > 0 {
			e.because("Only within the retry window (%s) does the previous token get the same answer again.", Span(k.Limits.Retry))
		} else if r.Row.Generation > r.Shown+1 {
			e.because("It is not the previous token but an older one, which is never answered again.")
		}
	}
	e.because("So this was reuse, and the session was ended at once (%s): nobody can say which of the two holders is the client.", grants.ReasonReuse)
	if r.Row != nil && r.Row.RotatedFrom != r.Address {
		e.advise("If %s is not where this client runs, the token was stolen: look for what else came from there. The session is over already.", from(r.Address))
	}
	e.advise("If both were the client, it keeps an old token: two processes or tabs renew without sharing what they get, or a copy was restored. Let one place renew and store the newest token before using it.")
	e.advise("The user has to sign in again.")
}

// other is the caller's address, next to one that may be the same.
func (r Refusal) other() string {
	if r.Row != nil && r.Address == r.Row.RotatedFrom {
		return "the same address"
	}
	return from(r.Address)
}

func (e *Explanation) overtaken(r Refusal) {
	e.because("The refresh token of generation %d was shown by a request that was held up on its way, or whose client had hung up.", r.Shown)
	if r.Row != nil {
		e.because("Meanwhile the client renewed session %s elsewhere: it was at generation %d, renewed %s before from %s.", r.Session, r.Row.Generation, r.ago(r.Row.RotatedAt), from(r.Row.RotatedFrom))
	}
	e.because("It was refused, and nothing was ended.")
	e.advise("Nothing has to be done: the client goes on with the token that it got meanwhile. If this happens often, its timeout is shorter than answers take.")
}

func (e *Explanation) idle(r Refusal, k Known) {
	if r.Row == nil {
		e.because("The session was not renewed in time.")
	} else {
		e.because("Session %s was last renewed at %s, %s before this request.", r.Session, stamp(r.Row.RotatedAt), r.ago(r.Row.RotatedAt))
		if k.Limits.Idle > 0 {
			e.because("The idle limit of %s is %s: it passed at %s.", r.caller(), Span(k.Limits.Idle), stamp(r.Row.RotatedAt.Add(k.Limits.Idle)))
		}
	}
	e.advise("The user has to sign in again. Clients that pause for longer want a longer limit: grantor client update %s --refresh-token-lifetime …", orID(r.Client))
}

// dead tells apart what one statement did not: it only says that nothing works there.
func (e *Explanation) dead(r Refusal, k Known) {
	code := r.Terms != nil
	what := "refresh token"
	switch {
	case code:
		what = "authorization code"
	case r.Shown == 0:
		what = "access token"
	}
	again := "The user has to sign in again."
	g := k.Session
	switch {
	case r.GrantType == clients.GrantPassword:
		e.because("The account or the client was switched off, or the password replaced, at the moment when the session was to begin.")
		e.advise("%s", again)
	case k.Unasked:
		e.because("The %s was not refused for its form: it belongs to session %s, which had ended, or may not be used by %s.", what, r.Session, r.caller())
		e.advise("Ask again when the database can be reached: its row says which.")
	case g == nil:
		e.because("The %s is a true one of this server, but the row of session %s is gone: it had reached its absolute limit and was cleaned up, or its user was deleted, or the database was restored from before it began.", what, r.Session)
		e.advise("%s", again)
	case r.Client != "" && r.Client != g.ClientID && !(r.Cut && strings.HasPrefix(g.ClientID, r.Client)):
		e.foreign(r, k)
	case !g.RevokedAt.IsZero() && r.after(g.RevokedAt):
		e.because("Session %s had been ended at %s, %s before: %s.", r.Session, stamp(g.RevokedAt), r.ago(g.RevokedAt), ended(g.Reason))
		e.advise("%s", again)
	case code && !r.termsOf(g):
		e.terms(r, g)
	case code && g.Generation > 1:
		e.because("The code has been redeemed, and session %s renewed since, last at %s. A code is honoured once.", r.Session, stamp(g.RotatedAt))
		if g.RedirectURI == "" {
			e.because("If it was shown before its redemption, its redirect_uri may have been another one than that of the authorization request, which is kept until the first renewal.")
		}
		e.because("Nothing was ended by this.")
		e.advise(openedTwice)
	case code && g.Generation > 0 && r.after(g.RotatedAt):
		e.because("The code had been redeemed at %s, %s before, by the same client from %s. A code is honoured once.", stamp(g.RotatedAt), r.ago(g.RotatedAt), from(g.RotatedFrom))
		e.because("Within the retry window a second showing is only refused: session %s was not ended.", r.Session)
		e.advise(openedTwice)
	case r.after(g.ExpiresAt) && g.Generation == 0:
		e.because("The code was made at %s and lived %s: it was shown %s too late.", stamp(g.CreatedAt), Span(g.ExpiresAt.Sub(g.CreatedAt)), r.ago(g.ExpiresAt))
		e.advise("The client redeems a code at once. If it did, compare the clocks of the replicas.")
	case r.after(g.ExpiresAt):
		e.because("Session %s had reached its absolute limit at %s, %s before. Renewal does not move it.", r.Session, stamp(g.ExpiresAt), r.ago(g.ExpiresAt))
		e.advise("%s A longer one, for sessions that begin from then on: grantor client update %s --session-lifetime …", again, g.ClientID)
	case k.User != nil && !k.User.DisabledAt.IsZero():
		e.because("Its user %s was disabled at %s.", k.User.Name, stamp(k.User.DisabledAt))
		e.advise("If that was a mistake: grantor user enable %s. Ended sessions stay ended.", k.User.Name)
	case k.Owner == nil:
		e.because("Its client %s is not registered any more.", g.ClientID)
		e.advise("Register it again, if it is still meant to be used. Its sessions stay ended.")
	case !k.Owner.DisabledAt.IsZero():
		e.because("Its client %s was disabled at %s.", g.ClientID, stamp(k.Owner.DisabledAt))
		e.advise("If that was a mistake: grantor client enable %s", g.ClientID)
	case r.Shown > g.Generation:
		e.because("The token shown is of generation %d, but session %s is only at %d: the database was restored from a backup that is older than the token.", r.Shown, r.Session, g.Generation)
		e.advise("%s docs/operations.md says what a restore does to tokens.", again)
	default:
		e.because("Session %s could not be used then; now nothing speaks against it. It was changed meanwhile: a client or user was enabled again, or a backup restored.", r.Session)
		e.advise("Let the client try again.")
	}
}

const openedTwice = "A callback that was opened twice (a double click, a reload, a prefetching proxy) looks like this. The client should answer the second with what the first one got."

// after reports whether the refusal came later. Its time is in milliseconds, and what it
// is held against may be from another replica's clock.
func (r Refusal) after(t time.Time) bool { return !t.After(r.At.Add(time.Second)) }

// termsOf reports whether a code was shown with the terms that it was made for.
func (r Refusal) termsOf(g *grants.Grant) bool {
	return r.Terms.challenge(g) && (g.RedirectURI == "" || r.Terms.RedirectURI == MarkOf(g.RedirectURI))
}

// challenge also knows the mark of the whole, as earlier versions made it.
func (t *Terms) challenge(g *grants.Grant) bool {
	return t.Challenge == MarkOf(grants.Clue(g.CodeChallenge)) || t.Challenge == MarkOf(g.CodeChallenge)
}

func (e *Explanation) terms(r Refusal, g *grants.Grant) {
	switch none := (Mark{}); {
	case r.Terms.challenge(g):
		e.because("The redirect_uri of the token request is not the one of the authorization request, %s.", g.RedirectURI)
		e.advise("The client sends the same redirect_uri twice, letter for letter: RFC 6749 section 4.1.3.")
	case g.CodeChallenge == "":
		e.because("A code_verifier was sent, but the authorization request had no code_challenge.")
		e.advise("Somebody may have taken the challenge out (a PKCE downgrade). If the client is always so, it mixes up two of its logins.")
	case r.Terms.Challenge == none:
		e.because("No code_verifier was sent, but the authorization request had a code_challenge.")
		e.advise("The client keeps the verifier of each login until its callback: RFC 7636 section 4.5.")
	default:
		e.because("The code_verifier is not the one whose challenge the authorization request had.")
		e.advise("Either the code was injected from another login, or the client mixes up two logins of one browser: it should keep the verifier under the state.")
	}
	e.because("Nothing was ended by this.")
}

func ended(why grants.Reason) string {
	switch why {
	case grants.ReasonReuse:
		return "a refresh token that was renewed before had been shown again (" + string(why) + ")"
	case grants.ReasonCodeReplay:
		return "its authorization code had been shown again (" + string(why) + ")"
	case grants.ReasonClient:
		return "its client revoked it"
	case grants.ReasonAdmin:
		return "an administrator ended it"
	case grants.ReasonPasswordChanged:
		return "its user's password was replaced"
	case grants.ReasonUserDisabled:
		return "its user was disabled"
	case grants.ReasonClientDeleted:
		return "its client was deleted"
	case grants.ReasonSignedOut:
		return "its user signed out of the browser that it began in"
	case grants.ReasonUser:
		return "its user ended it on the account page"
	case grants.ReasonConsentWithdrawn:
		return "its user no longer lets the client act"
	}
	return string(why)
}

func (e *Explanation) replayed(r Refusal) {
	switch {
	case r.Row != nil && r.Row.Generation > 1:
		e.because("The code had been redeemed by the same client, and the session renewed since, last at %s, %s before, from %s.", stamp(r.Row.RotatedAt), r.ago(r.Row.RotatedAt), from(r.Row.RotatedFrom))
	case r.Row != nil:
		e.because("The code had been redeemed at %s, %s before, by the same client from %s.", stamp(r.Row.RotatedAt), r.ago(r.Row.RotatedAt), from(r.Row.RotatedFrom))
	}
	e.because("It was shown again (with the right verifier, if the client uses PKCE) after the retry window: session %s was ended at once (%s), as RFC 6749 section 4.1.2 asks.", r.Session, grants.ReasonCodeReplay)
	e.advise("Either the code leaked (together with its verifier), or the client repeats its callback (a reload, a restored tab). The user has to sign in again.")
}

func (e *Explanation) foreign(r Refusal, k Known) {
	owner := "another client"
	if k.Session != nil {
		owner = "client " + k.Session.ClientID
	}
	e.because("What was shown belongs to %s, but %s showed it, from %s. It was refused, and nothing was ended by this.", owner, r.caller(), from(r.Address))
	e.advise("Two deployments that share a store of tokens look like this. If they do not: the token of %s was stolen, and its session should be ended: grantor session revoke %s", owner, orID(sessionOf(r)))
}

func sessionOf(r Refusal) string {
	if r.Session == (grants.ID{}) {
		return ""
	}
	return r.Session.String()
}

// orID is an id for a command, or the word for one.
func orID(id string) string {
	if id == "" {
		return "ID"
	}
	return id
}

func (e *Explanation) unknownClient(r Refusal, k Known) {
	switch {
	case r.Sent == "" || k.Unasked:
		e.because("No enabled client had the client_id that was sent.")
	case k.Caller == nil:
		// Not shown: people paste secrets there.
		e.because("No client has the client_id that was sent.")
		e.advise("Compare the client_id of the application with grantor client list: upper and lower case count.")
	case !k.Caller.DisabledAt.IsZero():
		e.because("Client %s was disabled at %s.", k.Caller.ID, stamp(k.Caller.DisabledAt))
		e.advise("If that was a mistake: grantor client enable %s", k.Caller.ID)
	default:
		e.because("Client %s was not registered then, or disabled. Now it is there.", k.Caller.ID)
		e.advise("Let the client try again.")
	}
}

func (e *Explanation) authentication(r Refusal, k Known) {
	c := k.Caller
	method := "client_secret_basic or client_secret_post"
	if c != nil && c.AuthMethod != clients.AuthAny {
		method = string(c.AuthMethod)
	}
	switch r.Cause {
	case NoSecret:
		e.because("%s is confidential and sent no secret.", upper(r.caller()))
		e.advise("It authenticates by %s. A client that can keep no secret is registered with --public.", method)
	case WrongMethod:
		e.because("%s sent its secret in another way than it is registered for: %s.", upper(r.caller()), method)
		e.advise("Change the application, or the registration: grantor client update %s --auth-method …", orID(r.Client))
	case PublicSecret:
		e.because("%s is registered as public, and sent a secret.", upper(r.caller()))
		e.advise("The application sends its client_id alone.")
	case PublicAsks:
		e.because("%s is public: anybody may say that they are it, so it may not ask about tokens.", upper(r.caller()))
		e.advise("Introspection is for confidential clients: register the API with --resource-server.")
	default:
		e.because("%s sent a secret that is none of its own.", upper(r.caller()))
		e.secrets(r, c)
		e.advise("If the secret is lost: grantor client rotate-secret %s", orID(r.Client))
	}
}

// secrets tells about those that had ended, or were made since: the usual mistakes.
func (e *Explanation) secrets(r Refusal, c *clients.Client) {
	if c == nil {
		return
	}
	live := 0
	for _, s := range c.Secrets {
		switch {
		case !s.Live(r.At):
			e.because("Its secret %s had ended at %s.", s.ID, stamp(s.ExpiresAt))
		case s.CreatedAt.After(r.At):
			e.because("Its secret %s was made only since, at %s.", s.ID, stamp(s.CreatedAt))
		default:
			live++
		}
	}
	e.because("Of its present secrets %d worked at that time.", live)
}

func (e *Explanation) password(r Refusal, k Known) {
	name := "the account"
	if k.User != nil {
		name = "user " + k.User.Name
	} else if r.UserID != "" {
		name = "the user with the id " + r.UserID
	}
	switch r.Cause {
	case NoSuchUser:
		e.because("No account has the name or address that was typed. What was typed is not kept: people type passwords there.")
	case UserDisabled:
		e.because("The account of %s was disabled.", name)
		if k.User != nil && k.User.DisabledAt.IsZero() {
			e.because("Now it is enabled.")
		} else {
			e.advise("If that was a mistake: grantor user enable %s", strings.TrimPrefix(name, "user "))
		}
	case Throttled:
		e.because("Too many sign-ins to the account, or from %s, had failed: the caller had to wait until %s (%s). The password was not looked at.", from(r.Address), stamp(r.At.Add(r.Wait)), Span(r.Wait))
		e.advise("Waiting helps. So does grantor user unlock USER, or grantor user unlock --address %s.", from(r.Address))
	default:
		e.because("The password was not that of %s.", name)
		if k.User != nil && k.User.PasswordHash == "" {
			e.because("The account has no password: it can not sign in by one.")
		}
		if k.User != nil && k.User.UpdatedAt.After(r.At) {
			e.because("The account was changed since, at %s.", stamp(k.User.UpdatedAt))
		}
		e.advise("If it is forgotten: grantor user set-password %s", strings.TrimPrefix(name, "user "))
	}
	e.because("The answer is the same for an unknown name, a wrong password and a disabled account.")
}

// rest is what needs a sentence or two, whatever the rows say.
func (e *Explanation) rest(r Refusal, k Known) {
	said, ok := plainly[r.Cause]
	switch {
	case ok:
		e.because("%s", said.why)
	case r.Cause == "":
		e.because("The reference is of a newer version, or of a cause that has no number.")
		e.advise("The line of the request in the log says why.")
	default:
		// The client was told in the same words.
		e.because("%s.", upper(string(r.Cause)))
	}
	if said.advice != "" {
		e.advise("%s", strings.ReplaceAll(said.advice, "{client}", orID(r.Client)))
	}
	if r.Row == nil {
		return
	}
	e.because("The session %s stood at generation %d.", r.Session, r.Row.Generation)
	if k.Session != nil && (r.Cause == Exceeds || r.Cause == Astray || r.Cause == NoneLeft) {
		e.because("Granted were the scope %q and the audience %q.", grants.JoinScope(k.Session.Scope), grants.JoinScope(k.Session.Audience))
	}
}

func upper(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// plainly says what a cause means to who did not write this program.
var plainly = map[Cause]struct{ why, advice string }{
	GrantType:                 {"The client is not registered for the grant type that it asked for.", "If it is meant to use it: grantor client update {client} --grant … (name all of its grants)"},
	Codes:                     {"The client is not registered for authorization codes.", "If it is meant to use them: grantor client update {client} --grant authorization_code … (name all of its grants)"},
	NotOurs:                   {"What was sent is no refresh token of this server: another kind of token, one that was cut or changed, or one whose server secret is not configured any more.", "If it worked before, compare the server secrets of all replicas: docs/operations.md, rotating secrets."},
	NotOurCode:                {"What was sent is no authorization code of this server: another kind of token, one that was cut or changed, or one whose server secret is not configured any more.", "If it happens at one replica only, its server secrets are others: docs/operations.md, rotating secrets."},
	Exceeds:                   {"More scope was asked for than the user granted. Nothing was rotated: the same token still works with less.", "A renewal may narrow the scope, never widen it. For more the user has to be asked again, at the authorization endpoint."},
	Astray:                    {"An audience (resource) was asked for that the user did not grant, or the client is registered for none of those that were granted. Nothing was rotated.", "Compare the client's registration (grantor client show {client}) with what the session has: grantor session show."},
	NoneLeft:                  {"The client is registered for none of the audiences that the user granted any more.", "grantor client show {client} lists what it is registered for now."},
	Unregistered:              {"A scope or an audience was asked for that the client is not registered with.", "Names count letter for letter: grantor client show {client}. To add one: grantor client update {client} --scope … or --audience …"},
	RedirectURI:               {"The redirect_uri is not registered for the client. The person saw a page: nobody is sent to an address that nobody registered.", "It is compared letter for letter: grantor client show {client}"},
	Origin:                    {"The request came from a browser origin that the client is not registered with, or without one.", "grantor client update {client} --allowed-origin … adds it, with scheme and port."},
	BadVerifier:               {"The code_verifier is not of the form of RFC 7636 section 4.1: 43 to 128 characters.", "The library of the client makes it; do not shorten it."},
	NotAccess:                 {"What was sent is no live access token of this server: another kind of token, another issuer's, cut or changed, or signed by a key that is gone.", "If clients get this with fresh tokens, compare the issuer and the keys of the replicas: grantor key list."},
	ForAnother:                {"The access token is meant for another API, not for this server.", "The client asks for a token with this server's issuer among its audiences."},
	"scope openid is missing": {"The access token is not one of an OpenID Connect login: it lacks the scope openid.", "The client asks for the scope openid when it signs the user in."},
	Denied:                    {"This one access token was revoked.", "The client gets another by renewing."},
	ClientGone:                {"The client of the token is disabled or deleted.", "grantor client show {client}"},
	DeniedByPerson:            {"The person pressed Deny on the consent page.", "Nothing is wrong: the application tells them what it needs it for."},
	LoginRequired:             {"The application asked not to show a page (prompt=none), or for a person who is not the one that signed in, and nobody fitting was signed in.", "The application sends the person once more, without prompt=none."},
	ConsentRequired:           {"The application asked not to show a page (prompt=none), but the person has not allowed all of it yet.", "The application sends the person once more, without prompt=none."},
	NoDatabase:                {"The database did not answer in time, or not surely.", "The line of the request in the log has the cause. The client should try again, as Retry-After says: a renewal that did happen is answered with the same token."},
	Busy:                      {"The server had too much to do at that moment (usually: passwords to hash), or the client hung up.", "docs/operations.md, sizes, says what to give it."},
	Internal:                  {"The server met something that it was not written for.", "The line of the request in the log has the cause. It is worth a report."},
	TooLong:                   {"The body of the request was longer than this endpoint reads.", ""},
	Forgery:                   {"The form did not come from a page of this server, or the browser sent no cookie with it.", "A proxy that changes Origin, Host or cookies looks like this."},
	Unreadable:                {"A person came back to a page after more than an hour, or with an address that was changed, or from before the server secrets were replaced.", "They begin again in the application."},
	NoSuchPath:                {"There is nothing at that path. The issuer's path is part of every address.", ""},
	MethodNotAllowed:          {"The endpoint is not called by that HTTP method; the answer names those that it has.", ""},
	NoSuchSession:             {"The person wanted to end a session that is not theirs, or is over.", ""},
	ChangedMeanwhile:          {"The account was changed by somebody else at the same moment.", "They try again."},
}
