package oauth_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// A person signs in, allows it, and the client gets tokens that belong to this request.
func TestAuthorize_circle(t *testing.T) {
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		page := b.Authorize("c1").Through("alice")
		answer := page.Answered()
		require.Equal(t, "a state", answer.Get("state"))
		require.Equal(t, servertest.Issuer, answer.Get("iss"))

		tokens := w.Redeem("c1", page.Code()).Require(http.StatusOK)
		id := servertest.Claims(t, tokens.Text("id_token"))
		require.Equal(t, servertest.UserID("alice"), id["sub"])
		require.Equal(t, "c1", id["aud"])
		require.Equal(t, "a nonce", id["nonce"])
		require.True(t, w.Active(tokens.Access()))

		renewed := w.Refresh("c1", tokens.Refresh()).Require(http.StatusOK)
		again := servertest.Claims(t, renewed.Text("id_token"))
		require.Equal(t, id["sub"], again["sub"])
		require.Equal(t, id["auth_time"], again["auth_time"])
		require.NotContains(t, again, "nonce")

		// Signed in and allowed: the next request needs no page.
		require.NotEmpty(t, b.Authorize("c1").Code())
	})
}
