package ui

import (
	"crypto/sha256"
	_ "embed" // the style sheet
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
)

// ErrNoLogo: none is configured, so there is nothing at /ui/logo.
var ErrNoLogo = errors.New("no logo")

//go:embed style.css
var styleSheet string

// logoTypes are the media types that browsers show in <img> and nowhere run.
var logoTypes = []string{"image/svg+xml", "image/png", "image/jpeg", "image/webp"}

// asset is a file that pages link to, by a name that changes with its content.
type asset struct {
	path      string
	mediaType string
	content   []byte
	hash      string
}

func newAsset(path, mediaType string, content []byte) asset {
	sum := sha256.Sum256(content)
	return asset{path: path, mediaType: mediaType, content: content, hash: hex.EncodeToString(sum[:8])}
}

// link is where the asset is, "" if there is none.
func (a asset) link(base string) string {
	if a.content == nil {
		return ""
	}
	return base + a.path + "?v=" + a.hash
}

func (p *Pages) prepareAssets() error {
	p.style = newAsset("/ui/style.css", "text/css; charset=utf-8", []byte(customProperties(p.accent)+styleSheet))
	if len(p.options.Logo) == 0 {
		p.icon = newAsset("/ui/icon", "image/svg+xml", p.monogram())
		return nil
	}
	if !slices.Contains(logoTypes, p.options.LogoType) {
		return fmt.Errorf("the logo's type %q is none of %q", p.options.LogoType, logoTypes)
	}
	p.logo = newAsset("/ui/logo", p.options.LogoType, p.options.Logo)
	p.icon = newAsset("/ui/icon", p.options.LogoType, p.options.Logo)
	return nil
}

// monogram stands in for the icon of a browser's tab, as it does for the logo on a page.
func (p *Pages) monogram() []byte {
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="9" fill="%s"/>`+
		`<text x="16" y="22.5" font-family="sans-serif" font-size="19" font-weight="700" text-anchor="middle" fill="%s">%s</text></svg>`,
		p.accent, p.accent.on(), template.HTMLEscapeString(initial(p.options.Name)))
}

// Style answers GET /ui/style.css.
func (p *Pages) Style(w http.ResponseWriter, r *http.Request) error { return p.style.serve(w, r) }

// Logo answers GET /ui/logo, or returns ErrNoLogo.
func (p *Pages) Logo(w http.ResponseWriter, r *http.Request) error {
	if p.logo.content == nil {
		return ErrNoLogo
	}
	return p.logo.serve(w, r)
}

// Icon answers GET /ui/icon: the logo, or the monogram.
func (p *Pages) Icon(w http.ResponseWriter, r *http.Request) error { return p.icon.serve(w, r) }

// serve lets browsers keep what they asked for by its hash. During an update a replica
// may be asked for the other version's: then it answers with its own, not to be kept.
func (a asset) serve(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	header.Set("Content-Type", a.mediaType)
	header.Set("ETag", `"`+a.hash+`"`)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	// An SVG that is opened by itself is a document: it runs nothing and loads nothing.
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox")
	header.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == a.hash {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if r.Header.Get("If-None-Match") == `"`+a.hash+`"` {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header.Set("Content-Length", strconv.Itoa(len(a.content)))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(a.content)
	return err
}
