package ui_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/ui"
)

// messages reads a language: each form of each message.
func messages(t *testing.T, lang string) map[string]map[string]string {
	t.Helper()
	raw, err := os.ReadFile("locales/" + lang + ".json")
	require.NoError(t, err)
	var parsed map[string]any
	require.NoError(t, json.Unmarshal(raw, &parsed))
	all := map[string]map[string]string{}
	for id, message := range parsed {
		switch message := message.(type) {
		case string:
			all[id] = map[string]string{"other": message}
		case map[string]any:
			all[id] = map[string]string{}
			for form, text := range message {
				all[id][form] = text.(string)
			}
		}
	}
	return all
}

var placeholder = regexp.MustCompile(`\{\{[^}]*\}\}`)

func TestLanguages_say_the_same_things(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("locales/*.json")
	require.NoError(t, err)
	require.Len(t, files, 2, "a new language belongs into this test, and into the list of locale.go")
	english, german := messages(t, "en"), messages(t, "de")
	for id, forms := range english {
		require.Contains(t, german, id, "German lacks it")
		for form, text := range forms {
			other := german[id][form]
			require.NotEmpty(t, other, "%s.%s", id, form)
			mine, theirs := placeholder.FindAllString(text, -1), placeholder.FindAllString(other, -1)
			slices.Sort(mine)
			slices.Sort(theirs)
			require.Equal(t, mine, theirs, "%s.%s", id, form)
		}
		require.Len(t, german[id], len(forms), id)
	}
	for id := range german {
		require.Contains(t, english, id, "English lacks it")
	}
}

// say gives messages to html/template as markup.
func TestMessages_hold_no_markup(t *testing.T) {
	t.Parallel()
	for _, lang := range []string{"en", "de"} {
		for id, forms := range messages(t, lang) {
			for _, text := range forms {
				require.NotContains(t, text, "  ", id)
				require.NotRegexp(t, `[<>&"']`, text, "%s: use typographic marks", id)
				require.Equal(t, strings.TrimSpace(text), text, id)
			}
		}
	}
}

// A message that nothing shows is a message that nobody translates with care.
func TestMessages_are_all_used(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	for _, pattern := range []string{"templates/*.html", "locale.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range files {
			raw, err := os.ReadFile(name)
			require.NoError(t, err)
			source.Write(raw)
		}
	}
	// Names that are put together from a prefix and a kind.
	composed := regexp.MustCompile(`^(sign_in\.fault|account\.fault|account\.notice|scope)\.|^problem\.\w+\.(title|text)$`)
	shown := allText(t)
	for id, forms := range messages(t, "en") {
		if composed.MatchString(id) {
			if text := forms["other"]; !strings.Contains(text, "{{") {
				require.Contains(t, shown, text, "%s: no canned page shows it", id)
			}
			continue
		}
		require.Contains(t, source.String(), `"`+id+`"`)
	}
}

func allText(t *testing.T) string {
	t.Helper()
	pages := newPages(t, ui.Options{})
	all := canned()
	same := ui.Account{Fault: ui.FaultPasswordSame}
	later := ui.Account{Fault: ui.FaultPasswordThrottled}
	all = append(all, shown{"", same}, shown{"", later})
	for _, notice := range []ui.AccountNotice{ui.NoticeSessionEnded, ui.NoticeOthersEnded, ui.NoticeConsentWithdrawn} {
		all = append(all, shown{"", ui.Account{Notice: notice}})
	}
	var b strings.Builder
	for _, s := range all {
		b.WriteString(text(parse(t, s.name, write(t, pages, ui.View{Locales: "en"}, s.page).Body.Bytes()).all("html")[0]))
	}
	return b.String()
}

func TestLanguage_is_that_of_the_request(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	for _, c := range []struct{ name, uiLocales, accept, want string }{
		{"nothing said", "", "", "en"},
		{"the browser's", "", "de-CH,de;q=0.9,en;q=0.8", "de"},
		{"by weight", "", "de;q=0.1,en;q=0.9", "en"},
		{"a language we lack, then one we have", "", "fr,de;q=0.5", "de"},
		{"only languages we lack", "", "fr,it", "en"},
		{"the application's goes first", "de", "en", "de"},
		{"the application's list", "fr-CA de en", "en", "de"},
		{"the application's is unknown", "fr", "de", "de"},
		{"rubbish", "-- \x00 ; <script>", "de;q=x,,;=", "en"},
		{"rubbish goes by", "<script> de", "", "de"},
		{"too long", strings.Repeat("de ", 10_000), strings.Repeat("de,", 10_000), "en"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept-Language", c.accept)
			require.NoError(t, pages.Write(w, r, ui.View{Locales: c.uiLocales}, ui.SignedOut{}))
			require.Equal(t, c.want, w.Header().Get("Content-Language"))
		})
	}
}

func TestTimes_are_easy_to_read(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	berlin := time.FixedZone("", 3600)
	for _, c := range []struct {
		name    string
		passed  time.Duration
		now     time.Time
		en, de  string
		machine string
	}{
		{"now", 0, noon, "just now", "gerade eben", "2026-03-04T12:00:00Z"},
		{"a clock that differs a little", -30 * time.Second, noon, "just now", "gerade eben", "2026-03-04T12:00:30Z"},
		{"one", time.Minute, noon, "1 minute ago", "vor 1 Minute", "2026-03-04T11:59:00Z"},
		{"many", 59*time.Minute + 59*time.Second, noon, "59 minutes ago", "vor 59 Minuten", "2026-03-04T11:00:01Z"},
		{"hours", 23 * time.Hour, noon, "23 hours ago", "vor 23 Stunden", "2026-03-03T13:00:00Z"},
		{"days", 6 * 24 * time.Hour, noon, "6 days ago", "vor 6 Tagen", "2026-02-26T12:00:00Z"},
		{"a week", 7 * 24 * time.Hour, noon, "25 February 2026, 12:00 UTC", "25. Februar 2026, 12:00 Uhr (UTC)", "2026-02-25T12:00:00Z"},
		{"in the future", -24 * time.Hour, noon, "5 March 2026, 12:00 UTC", "5. März 2026, 12:00 Uhr (UTC)", "2026-03-05T12:00:00Z"},
		{"no clock given", time.Minute, time.Time{}, "4 March 2026, 11:59 UTC", "4. März 2026, 11:59 Uhr (UTC)", "2026-03-04T11:59:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			page := ui.Account{Now: c.now, Consents: []ui.AccountConsent{{Since: noon.Add(-c.passed).In(berlin)}}}
			for lang, want := range map[string]string{"en": c.en, "de": c.de} {
				d := parse(t, "account", write(t, pages, ui.View{Locales: lang}, page).Body.Bytes())
				require.Equal(t, want, text(d.all("time")[0]))
				require.Equal(t, c.machine, attr(d.all("time")[0], "datetime"))
			}
		})
	}
}

func TestWait_is_rounded_up(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	for wait, want := range map[time.Duration]string{
		time.Millisecond:             "in 1 second.",
		1001 * time.Millisecond:      "in 2 seconds.",
		90 * time.Second:             "in 90 seconds.",
		91 * time.Second:             "in 2 minutes.",
		time.Hour + time.Millisecond: "in 61 minutes.",
		0:                            "later.",
	} {
		body := write(t, pages, ui.View{}, ui.SignIn{Fault: ui.FaultThrottled, Wait: wait}).Body.String()
		require.Contains(t, body, "Please try again "+want)
	}
}
