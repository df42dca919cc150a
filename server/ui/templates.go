package ui

import (
	"embed"
	"fmt"
	"html/template"
)

//go:embed templates/*.html
var templates embed.FS

// pages are all the types that Write takes.
var pages = []Page{SignIn{}, Consent{}, SignOut{}, SignedOut{}, Done{}, Problem{}, FormPost{}, Account{}}

// prepareTemplates parses every page once for each language, so that a request only
// executes.
func (p *Pages) prepareTemplates() error {
	all, err := loadWords()
	if err != nil {
		return err
	}
	p.templates = map[string]map[string]*template.Template{}
	for lang, words := range all {
		p.templates[lang] = map[string]*template.Template{}
		for _, page := range pages {
			name := page.template()
			parsed, err := template.New(name).Funcs(words.funcs()).Option("missingkey=error").ParseFS(templates, "templates/layout.html", "templates/"+name+".html")
			if err != nil {
				return fmt.Errorf("parse page %s: %w", name, err)
			}
			p.templates[lang][name] = parsed
		}
	}
	return nil
}
