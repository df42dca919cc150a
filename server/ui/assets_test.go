package ui_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/ui"
)

func TestAssets_are_kept_under_the_name_of_their_content(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{Logo: []byte(logo), LogoType: "image/svg+xml"})
	d := parse(t, "done", write(t, pages, ui.View{}, ui.Done{}).Body.Bytes())
	style, picture := attr(d.all("link")[0], "href"), attr(d.all("img")[0], "src")
	for _, asset := range []struct {
		address, mediaType string
		serve              func(http.ResponseWriter, *http.Request) error
	}{{style, "text/css; charset=utf-8", pages.Style}, {picture, "image/svg+xml", pages.Logo}} {
		ask := func(address, etag string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, address, nil)
			r.Header.Set("If-None-Match", etag)
			require.NoError(t, asset.serve(w, r))
			return w
		}
		w := ask(asset.address, "")
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, asset.mediaType, w.Header().Get("Content-Type"))
		require.Equal(t, "public, max-age=31536000, immutable", w.Header().Get("Cache-Control"))
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "sandbox", "an SVG opened by itself runs nothing")
		require.NotEmpty(t, w.Body.String())

		other := ask("/ui/x?v=0123456789abcdef", "")
		require.Equal(t, http.StatusOK, other.Code)
		require.Equal(t, "no-cache", other.Header().Get("Cache-Control"), "another version's name is not kept")

		require.Equal(t, http.StatusNotModified, ask(asset.address, w.Header().Get("ETag")).Code)
	}

	changed := parse(t, "done", write(t, newPages(t, ui.Options{Color: "#123456"}), ui.View{}, ui.Done{}).Body.Bytes())
	require.NotEqual(t, style, attr(changed.all("link")[0], "href"), "another colour has another name")
}

func TestLogo_may_be_missing(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	require.ErrorIs(t, pages.Logo(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/ui/logo", nil)), ui.ErrNoLogo)
	d := parse(t, "done", write(t, pages, ui.View{}, ui.Done{}).Body.Bytes())
	require.Empty(t, d.all("img"))
	require.Len(t, d.all("link"), 2, "the style and the icon")
	answer := httptest.NewRecorder()
	require.NoError(t, newPages(t, ui.Options{Name: "<Ä"}).Icon(answer, httptest.NewRequest(http.MethodGet, "/ui/icon", nil)))
	require.Equal(t, "image/svg+xml", answer.Header().Get("Content-Type"))
	require.Contains(t, answer.Body.String(), "&lt;</text>")
	require.Contains(t, answer.Header().Get("Content-Security-Policy"), "sandbox")
}
