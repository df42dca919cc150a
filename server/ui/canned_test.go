package ui_test

import (
	"time"

	"github.com/grantorhq/grantor/server/ui"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// shown is a page with data, for golden files and previews.
type shown struct {
	name string
	page ui.Page
}

// evil is what a stranger may be called: markup, a writing direction that runs on, no
// place to break a line.
const evil = "<img src=x onerror=alert(1)>\u202e\"'\u2066&\x1b[31m\u0085{{.CSRF}}" + "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"

// hostile is every page that shows what strangers chose.
func hostile() []shown {
	return []shown{
		{"evil_sign_in", ui.SignIn{Request: evil, CSRF: evil, Client: evil, Username: evil, Fault: ui.FaultWrong}},
		{"evil_sign_in_current", ui.SignIn{Request: evil, CSRF: evil, Client: evil, Username: evil, Current: evil}},
		{"evil_consent", ui.Consent{Request: evil, CSRF: evil, Client: evil, Host: evil, User: evil, ClientURI: "javascript://a.test/%0aalert(1)", PolicyURI: "https://a.test/\"><script>alert(1)</script>", TOSURI: "data:text/html,x", Scopes: []string{"openid", evil}, Audience: []string{evil}}},
		{"evil_consent_native", ui.Consent{Request: evil, CSRF: evil, Client: evil, Host: evil, User: evil, Scopes: []string{evil}, Native: true}},
		{"evil_sign_out", ui.SignOut{CSRF: evil, Request: evil, User: evil, Client: evil}},
		{"evil_done", ui.Done{Continue: "JavaScript:alert(1)//https://a.test", Client: evil}},
		{"evil_problem", ui.Problem{Kind: ui.ProblemRequest, Code: evil, Description: evil, RequestID: evil, Reference: evil}},
		{"evil_form_post", ui.FormPost{Action: "https://a.test:1/cb?a=\"><script>alert(1)</script>", Client: evil, Fields: []ui.Field{{Name: evil, Value: evil}}}},
		{"evil_account", ui.Account{
			CSRF: evil, User: evil, Email: evil, Minimum: 8, Now: noon,
			Browsers: []ui.AccountBrowser{{ID: evil, Device: evil, Address: evil, Since: noon, LastUsed: noon}},
			Sessions: []ui.AccountSession{{ID: evil, Client: evil, Device: evil, Since: noon, LastUsed: noon, Ends: noon}},
			Consents: []ui.AccountConsent{{ClientID: evil, Client: evil, Scopes: []string{evil}, Since: noon}},
		}},
	}
}

// sealed is as long as every reference.
const sealed = "ge1_DUvrMCRm3rJHUerInnb3n-3ex_yxpJFyoHnGGt4p_VPIFWjxgwUBg4_9rUFr8lXlhEq9l1wzkRk3K2kmoX8efylgGI_XCd5o1miYnrZfyxrXMmJr1E7Ff4q3kUyhPrONlBWN9laxdkLO4Kd9X8-UJQYdN2qEGTcjARdNtjSOZNnVEU2OuTKc3NTTHVx9dxb-"

// canned is every page in each of its states.
func canned() []shown {
	account := ui.Account{
		CSRF: "csrf-1", User: "alice", Email: "alice@example.org", Minimum: 8, Now: noon,
		Browsers: []ui.AccountBrowser{
			{ID: "b1", Device: "Firefox on Linux", Address: "192.0.2.7", Since: noon.Add(-72 * time.Hour), LastUsed: noon.Add(-20 * time.Second), This: true},
			{ID: "b2", Device: "Safari on iPhone", Address: "2001:db8:85a3::8a2e:370:7334", Since: noon.Add(-40 * 24 * time.Hour), LastUsed: noon.Add(-5 * time.Hour)},
			{ID: "b3", Address: "198.51.100.20", Since: noon.Add(-61 * time.Minute), LastUsed: noon.Add(-61 * time.Second)},
		},
		Sessions: []ui.AccountSession{
			{ID: "s1", Client: "Photo Album", Device: "Firefox on Linux", Since: noon.Add(-72 * time.Hour), LastUsed: noon.Add(-4 * time.Minute), Ends: noon.Add(87 * 24 * time.Hour), This: true},
			{ID: "s2", Client: "Mail on my telephone", Since: noon.Add(-26 * time.Hour), LastUsed: noon.Add(-26 * time.Hour), Ends: noon.Add(89 * 24 * time.Hour)},
		},
		Consents: []ui.AccountConsent{
			{ClientID: "photos", Client: "Photo Album", Scopes: []string{"openid", "profile", "photos.read"}, Since: noon.Add(-72 * time.Hour)},
		},
	}
	empty := ui.Account{CSRF: "csrf-1", User: "alice", Now: noon}
	changed, wrong, weak, mismatch, throttled := account, empty, empty, empty, empty
	changed.Notice = ui.NoticePasswordChanged
	wrong.Fault = ui.FaultPasswordWrong
	weak.Fault, weak.Minimum = ui.FaultPasswordWeak, 8
	mismatch.Fault = ui.FaultPasswordMismatch
	throttled.Fault, throttled.Wait = ui.FaultPasswordThrottled, 10*time.Minute

	return []shown{
		{"sign_in", ui.SignIn{Request: "sealed-1", CSRF: "csrf-1", Client: "Photo Album"}},
		{"sign_in_account", ui.SignIn{Request: "sealed-1", CSRF: "csrf-1"}},
		{"sign_in_wrong", ui.SignIn{Request: "sealed-1", CSRF: "csrf-1", Client: "Photo Album", Username: "alice", Fault: ui.FaultWrong}},
		{"sign_in_throttled", ui.SignIn{Request: "sealed-1", CSRF: "csrf-1", Username: "alice", Fault: ui.FaultThrottled, Wait: 28500 * time.Millisecond}},
		{"sign_in_throttled_later", ui.SignIn{Request: "sealed-1", CSRF: "csrf-1", Username: "alice", Fault: ui.FaultThrottled}},
		{"sign_in_busy", ui.SignIn{Request: "sealed-1", CSRF: "csrf-1", Fault: ui.FaultBusy}},
		{"sign_in_expired", ui.SignIn{Request: "sealed-1", CSRF: "csrf-1", Fault: ui.FaultExpired}},
		{"sign_in_current", ui.SignIn{Request: "sealed-1", CSRF: "csrf-1", Client: "Photo Album", Current: "alice"}},
		{"consent", ui.Consent{
			Request: "sealed-1", CSRF: "csrf-1", Client: "Photo Album", Host: "photos.example.com", User: "alice",
			ClientURI: "https://photos.example.com/", PolicyURI: "https://photos.example.com/privacy", TOSURI: "https://photos.example.com/terms",
			Scopes:   []string{"openid", "profile", "email", "address", "phone", "offline_access", "photos.read"},
			Audience: []string{"https://api.example.com", "https://store.example.com"},
		}},
		{"consent_native", ui.Consent{Request: "sealed-1", CSRF: "csrf-1", Client: "Notes", Host: "127.0.0.1", User: "alice", Scopes: []string{"openid"}, Native: true}},
		{"consent_nothing", ui.Consent{Request: "sealed-1", CSRF: "csrf-1", Client: "Notes", Host: "notes.example.com", User: "alice"}},
		{"sign_out", ui.SignOut{Request: "sealed-1", CSRF: "csrf-1", User: "alice", Client: "Photo Album"}},
		{"sign_out_self", ui.SignOut{CSRF: "csrf-1"}},
		{"signed_out", ui.SignedOut{}},
		{"done", ui.Done{Continue: "com.example.notes:/cb", Client: "Notes"}},
		{"done_plain", ui.Done{}},
		{"problem_request", ui.Problem{Kind: ui.ProblemRequest, Code: "invalid_request", Description: "The redirect_uri is not registered for this client.", RequestID: "kx5cvu2j6sgbd4eq", Reference: sealed}},
		{"problem_refused", ui.Problem{Kind: ui.ProblemRefused, Reference: sealed}},
		{"problem_notfound", ui.Problem{Kind: ui.ProblemNotFound}},
		{"problem_expired", ui.Problem{Kind: ui.ProblemExpired}},
		{"problem_forbidden", ui.Problem{Kind: ui.ProblemForbidden, RequestID: "kx5cvu2j6sgbd4eq", Reference: sealed}},
		{"problem_method", ui.Problem{Kind: ui.ProblemMethod}},
		{"problem_toolarge", ui.Problem{Kind: ui.ProblemTooLarge}},
		{"problem_throttled", ui.Problem{Kind: ui.ProblemThrottled}},
		{"problem_busy", ui.Problem{Kind: ui.ProblemBusy}},
		{"problem_unavailable", ui.Problem{Kind: ui.ProblemUnavailable, RequestID: "kx5cvu2j6sgbd4eq", Reference: sealed}},
		{"problem_internal", ui.Problem{RequestID: "kx5cvu2j6sgbd4eq", Reference: sealed}},
		{"form_post", ui.FormPost{Action: "https://photos.example.com/cb", Client: "Photo Album", Fields: []ui.Field{{Name: "code", Value: "gc1_x"}, {Name: "state", Value: `"><script>alert(1)</script>`}, {Name: "iss", Value: "https://id.example.org"}}}},
		{"form_post_plain", ui.FormPost{Action: "com.example.notes:/cb", Fields: []ui.Field{{Name: "error", Value: "access_denied"}}}},
		{"account", account},
		{"account_empty", empty},
		{"account_changed", changed},
		{"account_wrong_password", wrong},
		{"account_weak_password", weak},
		{"account_mismatch", mismatch},
		{"account_throttled", throttled},
	}
}
