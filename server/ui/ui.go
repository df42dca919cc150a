// Package ui turns typed data into the pages that people see: sign in, consent, sign
// out, account, and what went wrong.
//
// It is presentation only. It knows no store, no session and no OAuth; server/login
// decides what is shown and gives it one of the types in pages.go. What it promises:
//
//   - A page is whole or not at all: it is rendered before a header is written.
//   - Every page works without JavaScript. The one script is that of FormPost, which
//     presses the button for the person; it carries a nonce.
//   - Every page has the headers of headers.go, whatever its status.
//   - What strangers chose is escaped by html/template and isolated by <bdi>.
//   - There are no inline styles: colours come from Style as custom properties, computed
//     so that text on them can be read (color.go).
//
// Words are in locales/, one file for each language, markup in templates/.
package ui

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
)

// Options is what an operator may choose.
type Options struct {
	Name     string // "": Grantor
	Color    string // the accent, as #rrggbb; "": #1a5fb4
	Logo     []byte // none: the first letter of the name
	LogoType string // its media type: image/svg+xml, image/png, image/jpeg or image/webp
	Base     string // the path of the issuer, before every path of ours: "" or "/id"
	Rand     io.Reader
}

// Pages writes pages. It is safe for concurrent use.
type Pages struct {
	options   Options
	accent    color
	style     asset
	logo      asset
	icon      asset
	templates map[string]map[string]*template.Template // by language and name
}

// View is what a page is shown with, beside its data.
type View struct {
	Status     int      // 0: 200
	Locales    string   // the ui_locales parameter, which goes before Accept-Language
	FormAction []string // CSP sources beside 'self' where a form of this page may end: see Source
}

// New checks the options and prepares every page.
func New(o Options) (*Pages, error) {
	if o.Name == "" {
		o.Name = "Grantor"
	}
	if o.Color == "" {
		o.Color = "#1a5fb4"
	}
	if o.Rand == nil {
		return nil, errors.New("pages need randomness")
	}
	accent, err := parseColor(o.Color)
	if err != nil {
		return nil, err
	}
	p := &Pages{options: o, accent: accent}
	if err := p.prepareAssets(); err != nil {
		return nil, err
	}
	if err := p.prepareTemplates(); err != nil {
		return nil, err
	}
	return p, nil
}

// normal lets callers give a page or its address, and a Problem no kind.
func normal(page Page) Page {
	switch given := page.(type) {
	case *FormPost:
		return *given
	case *Problem:
		return normal(*given)
	case Problem:
		if given.Kind == "" {
			given.Kind = ProblemInternal
		}
		return given
	}
	return page
}

// frame is what every template sees.
type frame struct {
	Lang  string
	Name  string
	Base  string
	Style string // where the style sheet is
	Logo  string // where the logo is, or ""
	Icon  string
	Nonce string // of the page's script
	Kind  string // the page's name
	Page  Page
}

// Write writes a page. When it returns an error from rendering, nothing has been
// written; one from writing means that the reader is gone.
func (p *Pages) Write(w http.ResponseWriter, r *http.Request, v View, page Page) error {
	page = normal(page)
	lang := negotiate(v.Locales, r.Header.Values("Accept-Language"))
	f := frame{Lang: lang, Name: p.options.Name, Base: p.options.Base, Style: p.style.link(p.options.Base), Logo: p.logo.link(p.options.Base), Icon: p.icon.link(p.options.Base), Page: page, Kind: page.template()}
	post, isPost := page.(FormPost)
	if isPost {
		if address(post.Action) == "" {
			return errors.New("write form_post: the redirect URI is none that a form may post to")
		}
		var err error
		if f.Nonce, err = p.nonce(); err != nil {
			return err
		}
	}
	var body bytes.Buffer
	if err := p.templates[lang][page.template()].ExecuteTemplate(&body, "layout", f); err != nil {
		return fmt.Errorf("render page %s: %w", page.template(), err)
	}

	header := w.Header()
	setHeaders(header, lang)
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	if isPost {
		header.Set("Content-Security-Policy", policyOfPost(Source(post.Action), f.Nonce))
	} else {
		header.Set("Content-Security-Policy", policy(v.FormAction))
	}
	if v.Status == 0 {
		v.Status = http.StatusOK
	}
	w.WriteHeader(v.Status)
	_, err := body.WriteTo(w)
	return err
}
