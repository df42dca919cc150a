package browser_test

import (
	"net/http"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// withoutScript opens the application in a browser that runs no scripts, and makes sure of it.
func withoutScript(t *testing.T, photos *album) *tab {
	t.Helper()
	b := newPerson(t, "en").tab()
	b.open(photos.url)
	b.says("#script", "on")
	b.withoutScripts()
	b.open(photos.url)
	b.says("#script", "off")
	return b
}

// No script, and no mouse either.
func TestSignIn_without_JavaScript_by_keyboard_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	photos := newAlbum(w)
	password := w.alice()
	b := withoutScript(t, photos)
	b.submit("#sign-in")

	b.find(".page-sign_in")
	b.until("document.activeElement.id === 'username'")
	b.do(input.InsertText("alice"))
	b.keys(kb.Tab)
	b.until("document.activeElement.id === 'password'")
	b.do(input.InsertText("wrong"))
	b.enter()
	b.says("#fault", "wrong")
	b.until("document.activeElement.id === 'password'")
	b.do(input.InsertText(password))
	b.enter()

	b.find(".page-consent")
	for range 10 {
		b.keys(kb.Tab)
		if b.evaluate("document.activeElement.value") == "allow" {
			break
		}
	}
	require.Equal(t, "allow", b.evaluate("document.activeElement.value"), "reached by Tab alone")
	require.NotEqual(t, "none", b.evaluate("getComputedStyle(document.activeElement).outlineStyle"), "and it can be seen where one is")
	b.enter()
	b.find("#hello")
	require.NotEmpty(t, photos.last().token.AccessToken)

	// Out again.
	b.open(w.issuer + "/account")
	b.submit("[value=signout]")
	b.find(".page-signed_out")
	b.open(w.issuer + "/account")
	b.find(".page-sign_in")
}

func TestFormPost_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	photos := newAlbum(w)
	password := w.alice()
	b := newPerson(t, "en").tab()
	b.open(photos.url)
	b.submit("#sign-in-post")
	b.signIn("alice", password)
	b.find(".page-consent")
	b.submit("[value=allow]")
	b.find("#hello") // nobody had to press a button
	require.Equal(t, http.MethodPost, photos.last().method)
	require.Equal(t, photos.url+"/callback", b.where(), "nothing of the answer is in the address")

	b.open(photos.begin("response_mode", "form_post", "prompt", "consent"))
	b.submit("[value=deny]")
	require.Equal(t, "access_denied", b.text("#refused"))
	require.Equal(t, http.MethodPost, photos.last().method)
}

func TestFormPost_without_JavaScript_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	photos := newAlbum(w)
	password := w.alice()
	b := withoutScript(t, photos)
	b.submit("#sign-in-post")
	b.signIn("alice", password)
	b.find(".page-consent")
	b.submit("[value=allow]")
	b.says(".page-form_post", "Photo Album")
	require.Zero(t, photos.count())
	b.submit(".page-form_post button")
	b.find("#hello")
	require.Equal(t, http.MethodPost, photos.last().method)
}
