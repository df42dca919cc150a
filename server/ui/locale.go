package ui

import (
	"embed"
	"fmt"
	"html"
	"html/template"
	"strings"
	"time"
	"unicode"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

//go:embed locales/*.json
var locales embed.FS

// languages are those that pages are written in; the first one answers for all others.
var languages = []language.Tag{language.English, language.German}

var matcher = language.NewMatcher(languages)

// negotiate picks the language of a page: what the application asked for (ui_locales, a
// list with spaces) goes before what the browser says.
func negotiate(uiLocales string, acceptLanguage []string) string {
	const most = 1024 // bytes: who sends more is not serious
	var wanted []language.Tag
	if len(uiLocales) <= most {
		for name := range strings.FieldsSeq(uiLocales) {
			if tag, err := language.Parse(name); err == nil {
				wanted = append(wanted, tag)
			}
		}
	}
	if accepted := strings.Join(acceptLanguage, ","); len(accepted) <= most {
		if tags, _, err := language.ParseAcceptLanguage(accepted); err == nil {
			wanted = append(wanted, tags...)
		}
	}
	_, index, _ := matcher.Match(wanted...)
	return languages[index].String()
}

// words are the texts of one language.
type words struct{ localizer *i18n.Localizer }

// loadWords reads every language's file.
func loadWords() (map[string]words, error) {
	bundle := i18n.NewBundle(languages[0])
	all := map[string]words{}
	for _, tag := range languages {
		name := "locales/" + tag.String() + ".json"
		if _, err := bundle.LoadMessageFileFS(locales, name); err != nil {
			return nil, fmt.Errorf("load %s: %w", name, err)
		}
	}
	for _, tag := range languages {
		all[tag.String()] = words{i18n.NewLocalizer(bundle, tag.String())}
	}
	return all, nil
}

// funcs is what templates may call.
func (w words) funcs() template.FuncMap {
	return template.FuncMap{
		"text":       w.text,
		"name":       name,
		"plain":      plain,
		"say":        w.say,
		"count":      w.count,
		"permission": w.permission,
		"device":     w.device,
		"date":       w.date,
		"ago":        w.ago,
		"wait":       w.wait,
		"iso":        func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"initial":    initial,
		"website":    website,
		"address": func(uri string) template.URL {
			return template.URL(address(uri)) //nolint:gosec // address leaves no scheme that runs scripts; html/template would refuse those of apps, too
		},
	}
}

// text is a message as plain text, which html/template escapes. It is for places
// without markup, such as <title>; for strangers' names elsewhere there is say.
func (w words) text(id string, pairs ...string) (string, error) {
	data, err := dataOf(pairs, func(value string) string { return value })
	if err != nil {
		return "", err
	}
	return w.localizer.Localize(&i18n.LocalizeConfig{MessageID: id, TemplateData: data})
}

// say is a message with strangers' text in it, each value as name gives it.
func (w words) say(id string, pairs ...string) (template.HTML, error) {
	data, err := dataOf(pairs, func(value string) string { return string(name(value)) })
	if err != nil {
		return "", err
	}
	said, err := w.localizer.Localize(&i18n.LocalizeConfig{MessageID: id, TemplateData: data})
	return template.HTML(said), err //nolint:gosec // values are escaped above, and a test keeps messages free of markup
}

// name gives a stranger's text to a page: escaped, and isolated so that its writing
// direction stays its own.
func name(value string) template.HTML {
	return template.HTML("<bdi>" + html.EscapeString(plain(value)) + "</bdi>") //nolint:gosec // escaped right here
}

// plain leaves out control characters and those that embed, override or isolate a
// writing direction: one that is not closed would end the isolation of <bdi> and turn
// around the words after it.
func plain(value string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return -1
		}
		return r
	}, value)
}

// count is a message that depends on a number.
func (w words) count(id string, n int) (string, error) {
	return w.localizer.Localize(&i18n.LocalizeConfig{MessageID: id, PluralCount: n})
}

func dataOf(pairs []string, dress func(string) string) (map[string]string, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("a name without a value: %q", pairs)
	}
	data := make(map[string]string, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = dress(pairs[i+1])
	}
	return data, nil
}

// permission says what a scope allows. Only those of OpenID Connect have words: what
// others mean is between the application and its services.
func (w words) permission(scope string) (template.HTML, error) {
	switch scope {
	case "openid", "profile", "email", "address", "phone", "offline_access":
		return w.say("scope." + scope)
	}
	return w.say("scope.other", "Scope", scope)
}

// device puts what Device says into the page's language.
func (w words) device(said string) (string, error) {
	if said == "" {
		return w.text("device.unknown")
	}
	browser, system, found := strings.Cut(plain(said), deviceOn)
	switch {
	case !found:
		return browser, nil
	case system == "iPhone" || system == "iPad":
		return w.text("device.on_the", "Browser", browser, "System", system)
	}
	return w.text("device.on", "Browser", browser, "System", system)
}

// date writes a time in full. It is UTC: the server does not know where its reader is.
func (w words) date(t time.Time) (string, error) {
	t = t.UTC()
	months, err := w.text("date.months")
	if err != nil {
		return "", err
	}
	return w.text("date.form", "Day", fmt.Sprint(t.Day()), "Month", strings.Fields(months)[t.Month()-1], "Year", fmt.Sprint(t.Year()), "Clock", t.Format("15:04"))
}

// ago says how long ago a time was, for as long as that is easier to read than a date.
func (w words) ago(t, now time.Time) (string, error) {
	passed := now.Sub(t)
	switch {
	case now.IsZero() || passed < -time.Minute || passed >= 7*24*time.Hour:
		return w.date(t)
	case passed < time.Minute:
		return w.text("ago.now")
	case passed < time.Hour:
		return w.count("ago.minutes", int(passed/time.Minute))
	case passed < 24*time.Hour:
		return w.count("ago.hours", int(passed/time.Hour))
	}
	return w.count("ago.days", int(passed/(24*time.Hour)))
}

// wait says a time to wait, rounded up: who comes back then is let through.
func (w words) wait(d time.Duration) (string, error) {
	if d <= 90*time.Second {
		return w.count("wait.seconds", max(1, int((d+time.Second-1)/time.Second)))
	}
	return w.count("wait.minutes", int((d+time.Minute-1)/time.Minute))
}

// initial stands in for a logo.
func initial(name string) string {
	for _, r := range name {
		return strings.ToUpper(string(r))
	}
	return ""
}
