package ui

import "time"

// Page is the data of one page: one of the types below.
type Page interface {
	// template names the file under templates/, without its ending. It seals the interface.
	template() string
}

// SignIn asks for name and password. Its form posts to /login: request, csrf_token,
// username, password.
type SignIn struct {
	Request, CSRF string
	Client        string // the name of the application that asked; "": none did, it is for the account page
	Username      string // filled in beforehand
	Fault         SignInFault
	Wait          time.Duration // with FaultThrottled: until the next attempt; 0: not said
	Current       string        // who is signed in already: offers a button decision=continue to go on as that user
}

// SignInFault says why the sign-in page is shown again.
type SignInFault string

// What may be wrong with an attempt to sign in. FaultWrong is one text for unknown
// users and wrong passwords.
const (
	FaultWrong     SignInFault = "wrong"
	FaultThrottled SignInFault = "throttled"
	FaultBusy      SignInFault = "busy"
	FaultExpired   SignInFault = "expired" // the form is not of this browser: an old page, or no cookies
)

// Consent asks a person what an application may do. Its form posts to /consent:
// request, csrf_token, decision (allow, deny, switch).
type Consent struct {
	Request, CSRF string
	Client        string // the application's name, as it was registered
	ClientURI     string // shown when it is an http(s) URL, as the two below
	PolicyURI     string
	TOSURI        string
	Host          string // where the answer goes
	User          string
	Scopes        []string
	Audience      []string // the services that the access is for, when not only this server
	Native        bool     // a program on the device, whose identity nobody can assure (RFC 8252 section 8.6)
}

// SignOut asks before signing out. Its form posts to /logout: request, csrf_token,
// decision (signout, stay).
type SignOut struct {
	CSRF, Request string
	User          string
	Client        string // who asked; "": the person
}

// SignedOut says that it is done.
type SignedOut struct{}

// Done answers a form that was answered before: a double click, the back button.
type Done struct {
	Continue string // where to go on, or ""
	Client   string
}

// ProblemKind chooses the words of a Problem.
type ProblemKind string

// What can go wrong, as a person needs to know it.
const (
	ProblemRequest     ProblemKind = "request"     // an application sent a request that can not be answered
	ProblemRefused     ProblemKind = "refused"     // an application was told so; this is the page that it was pointed to
	ProblemNotFound    ProblemKind = "notfound"    // there is no such page
	ProblemExpired     ProblemKind = "expired"     // the form is too old: begin again
	ProblemForbidden   ProblemKind = "forbidden"   // the form did not come from our page (CSRF)
	ProblemMethod      ProblemKind = "method"      // the page is not called that way
	ProblemTooLarge    ProblemKind = "toolarge"    // the form is too long
	ProblemThrottled   ProblemKind = "throttled"   // too many attempts
	ProblemBusy        ProblemKind = "busy"        // too much at once: try again
	ProblemUnavailable ProblemKind = "unavailable" // the database does not answer: try again
	ProblemInternal    ProblemKind = "internal"    // ours
)

// Problem is the error page.
type Problem struct {
	Kind        ProblemKind // "": ProblemInternal
	Code        string      // the protocol's error code, for who writes the application
	Description string      // a fixed English sentence, for the same reader
	RequestID   string      // to find it in the log
	Reference   string      // what grantor explain takes
}

// FormPost carries an authorization response to the application: OAuth 2.0 Form Post
// Response Mode.
type FormPost struct {
	Action string // the redirect URI, compared with the registration; may have a scheme of its own
	Fields []Field
	Client string // the application's name, or ""
}

// Field is one parameter of the response.
type Field struct{ Name, Value string }

// Account shows where its user is signed in. Its forms post to /account: csrf_token and
// action = end_browser (id), end_session (id), end_others, withdraw (client_id) or
// change_password (current_password, new_password, repeat_password); signing out posts
// csrf_token and decision=signout to /logout.
type Account struct {
	CSRF     string
	User     string
	Email    string
	Browsers []AccountBrowser
	Sessions []AccountSession
	Consents []AccountConsent
	Notice   AccountNotice
	Fault    AccountFault
	Wait     time.Duration // with FaultPasswordThrottled, as in SignIn
	Minimum  int           // characters of a new password
	Now      time.Time     // zero: all times are written in full, none as "5 minutes ago"
}

// AccountBrowser is a browser that is signed in here.
type AccountBrowser struct {
	ID       string
	Device   string // what Device says
	Address  string
	Since    time.Time
	LastUsed time.Time
	This     bool
}

// AccountSession is an application's session: a grant.
type AccountSession struct {
	ID       string
	Client   string
	Device   string // what Device says
	Since    time.Time
	LastUsed time.Time
	Ends     time.Time
	This     bool // it began from this browser
}

// AccountConsent is what an application was allowed.
type AccountConsent struct {
	ClientID string
	Client   string
	Scopes   []string
	Since    time.Time
}

// AccountNotice says what was just done.
type AccountNotice string

// What can be done on the account page.
const (
	NoticePasswordChanged  AccountNotice = "password_changed"
	NoticeSessionEnded     AccountNotice = "session_ended"
	NoticeOthersEnded      AccountNotice = "others_ended"
	NoticeConsentWithdrawn AccountNotice = "consent_withdrawn"
)

// AccountFault says why the password was not changed.
type AccountFault string

// What may be wrong with a change of the password.
const (
	FaultPasswordWrong     AccountFault = "wrong_password" // the current one
	FaultPasswordWeak      AccountFault = "weak_password"
	FaultPasswordSame      AccountFault = "same"
	FaultPasswordMismatch  AccountFault = "mismatch"
	FaultPasswordThrottled AccountFault = "throttled"
)

func (SignIn) template() string    { return "sign_in" }
func (Consent) template() string   { return "consent" }
func (SignOut) template() string   { return "sign_out" }
func (SignedOut) template() string { return "signed_out" }
func (Done) template() string      { return "done" }
func (Problem) template() string   { return "problem" }
func (FormPost) template() string  { return "form_post" }
func (Account) template() string   { return "account" }
