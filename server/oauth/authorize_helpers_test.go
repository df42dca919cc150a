package oauth_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// drawn is what a page tells that may by chance hold any word: its reference and the
// request's id.
var drawn = regexp.MustCompile(`\bge1_[\w-]+|>[a-z2-7]{16}<`)

// requirePage is "Page" of attacks.md: the person reads what is wrong, nobody is sent
// anywhere, and what was sent does not come back.
func requirePage(t *testing.T, p *servertest.Page) {
	t.Helper()
	require.GreaterOrEqual(t, p.Status, 400, "%s", p.Body)
	require.Less(t, p.Status, 500, "%s", p.Body)
	require.Empty(t, p.Header.Values("Location"))
	require.True(t, strings.HasPrefix(p.Header.Get("Content-Type"), "text/html"), "%s", p.Body)
	told := drawn.ReplaceAllString(string(p.Body), "")
	for _, sent := range []string{"evil", "ev1l", "gc1_"} {
		require.NotContains(t, told, sent)
	}
}

// refusalCodes are the codes that the registry of OAuth extensions errors has for the
// authorization endpoint.
var refusalCodes = []string{
	"invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope", "server_error", "temporarily_unavailable",
	"interaction_required", "login_required", "account_selection_required", "consent_required", "invalid_request_uri", "invalid_request_object",
	"request_not_supported", "request_uri_not_supported", "registration_not_supported", "unmet_authentication_requirements", "invalid_target",
}

// requireRedirect is "Redirect e" of attacks.md: the client hears what is wrong, with the
// untouched state and iss, and gets no code.
func requireRedirect(t *testing.T, p *servertest.Page, code string) url.Values {
	t.Helper()
	require.Contains(t, refusalCodes, code)
	answer := p.Answered()
	require.Equal(t, code, answer.Get("error"), "%s", p.Location())
	require.Regexp(t, `^[\x20-\x21\x23-\x5B\x5D-\x7E]+$`, answer.Get("error_description"))
	require.Equal(t, []string{servertest.Issuer}, answer["iss"])
	require.False(t, answer.Has("code"))
	require.Equal(t, []string{"a state"}, answer["state"])
	return answer
}

// requireAsked: the person is shown that page, and the client hears nothing yet.
func requireAsked(t *testing.T, p *servertest.Page, page string) *servertest.Page {
	t.Helper()
	p.Require(303)
	require.True(t, strings.HasPrefix(p.Location(), page+"?request="), p.Location())
	return p
}

// modeOf is how an answer came.
func modeOf(p *servertest.Page) string {
	switch {
	case p.Location() == "":
		return "form_post"
	case strings.Contains(p.Location(), "#"):
		return "fragment"
	}
	return "query"
}

// with is a correct authorization request of a client with one parameter as given, more
// than once when there are more values.
func with(client, name string, values ...string) string {
	q := servertest.AuthorizeQuery(client)
	q[name] = values
	return "/oauth2/auth?" + q.Encode()
}

// grantRows counts the codes too, which no list shows. SQLite only.
func grantRows(t *testing.T, w *servertest.World) (count int) {
	t.Helper()
	db := storagetest.Database(t, w.Env.URL)
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM grants").Scan(&count))
	return count
}
