package ui_test

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/ui"
)

// WCAG 2.2, 1.4.3 and 1.4.11, for whatever accent an operator picks, light and dark. The
// arithmetic is written here a second time, so that a mistake in color.go is seen.
func TestText_can_be_read_on_its_ground(t *testing.T) {
	t.Parallel()
	accents := []string{"#1a5fb4", "#000000", "#ffffff", "#ffcc00", "#00ff00", "#ff0000", "#0000ff", "#000060", "#808080", "#777777", "#767676", "#0b7a4b", "#e01b24", "#f6d32d", "#ff69b4"}
	for r := 0; r < 256; r += 51 {
		for g := 0; g < 256; g += 51 {
			for b := 0; b < 256; b += 51 {
				accents = append(accents, fmt.Sprintf("#%02x%02x%02x", r, g, b))
			}
		}
	}
	for _, accent := range accents {
		for theme, colors := range themesOf(t, accent) {
			if theme == "dark" {
				require.GreaterOrEqual(t, ratio(t, colors["accent"], colors["card"]), 3.0, "a dark accent would sink into a dark card: %s", accent)
			}
			for _, pair := range []struct {
				front, back string
				least       float64
			}{
				{"text", "card", 4.5},
				{"text", "ground", 4.5},
				{"text", "accent-soft", 4.5},
				{"muted", "card", 4.5},
				{"muted", "ground", 4.5},
				{"danger", "danger-soft", 4.5},
				{"good", "good-soft", 4.5},
				{"warn", "warn-soft", 4.5},
				{"on-accent", "accent", 4.5},
				{"on-accent", "accent-hover", 4.5},
				{"accent-text", "card", 4.5},
				{"accent-text", "ground", 4.5},
				{"accent-text", "accent-soft", 4.5},
				{"edge", "card", 3},
				{"danger", "card", 3},
				{"accent-edge", "card", 3},
			} {
				got := ratio(t, colors[pair.front], colors[pair.back])
				require.GreaterOrEqual(t, got, pair.least, "accent %s, %s: %s %s on %s %s", accent, theme, pair.front, colors[pair.front], pair.back, colors[pair.back])
			}
		}
	}
}

func TestAccent_that_can_be_read_is_not_changed(t *testing.T) {
	t.Parallel()
	themes := themesOf(t, "#0b5c2e")
	require.Equal(t, "#0b5c2e", themes["light"]["accent"])
	require.Equal(t, "#0b5c2e", themes["light"]["accent-text"])
	require.Equal(t, "#ffcc00", themesOf(t, "#ffcc00")["dark"]["accent"])
	require.Equal(t, "#ffcc00", themesOf(t, "#ffcc00")["light"]["accent"], "a light accent keeps its colour and gets an edge")
}

var property = regexp.MustCompile(`--([a-z-]+): ([^;]+);`)

// themesOf reads the custom properties that the style sheet sets.
func themesOf(t *testing.T, accent string) map[string]map[string]string {
	t.Helper()
	head, _, found := strings.Cut(styleOf(t, ui.Options{Color: accent}), "*, *::before")
	require.True(t, found)
	light, dark, found := strings.Cut(head, "@media (prefers-color-scheme: dark)")
	require.True(t, found)
	themes := map[string]map[string]string{"light": {}, "dark": {}}
	for name, text := range map[string]string{"light": light, "dark": dark} {
		for _, match := range property.FindAllStringSubmatch(text, -1) {
			themes[name][match[1]] = match[2]
		}
		require.NotEmpty(t, themes[name])
	}
	return themes
}

func styleOf(t *testing.T, o ui.Options) string {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, newPages(t, o).Style(w, httptest.NewRequest(http.MethodGet, "/ui/style.css", nil)))
	return w.Body.String()
}

func ratio(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(s string) float64 {
		var parts [3]uint8
		_, err := fmt.Sscanf(s, "#%02x%02x%02x", &parts[0], &parts[1], &parts[2])
		require.NoError(t, err, s)
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			x := float64(parts[i]) / 255
			if x > 0.04045 {
				x = math.Pow((x+0.055)/1.055, 2.4)
			} else {
				x /= 12.92
			}
			sum += weight * x
		}
		return sum
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// A colour outside the table would escape the test above.
func TestStyle_sheet_names_no_colour_of_its_own(t *testing.T) {
	t.Parallel()
	style := styleOf(t, ui.Options{})
	_, sheet, _ := strings.Cut(style, "*, *::before")
	for line := range strings.Lines(sheet) {
		if !strings.Contains(line, "box-shadow") {
			require.NotRegexp(t, `#[0-9a-fA-F]{3,8}\b|rgba?\(|hsl|: (white|black|red)\b`, line)
		}
	}
	for _, match := range regexp.MustCompile(`var\(--([a-z-]+)\)`).FindAllStringSubmatch(sheet, -1) {
		require.Contains(t, style, "--"+match[1]+": ")
	}
	require.NotContains(t, sheet, "url(", "the policy lets nothing else be loaded")
	require.NotContains(t, sheet, "outline: none")
}

// 2.5.5: what can be pressed is 44 px high.
func TestButtons_are_large_enough(t *testing.T) {
	t.Parallel()
	_, rule, found := strings.Cut(styleOf(t, ui.Options{}), "\nbutton, .button {")
	require.True(t, found)
	rule, _, _ = strings.Cut(rule, "}")
	var rem float64
	_, after, found := strings.Cut(rule, "min-height: ")
	require.True(t, found)
	_, err := fmt.Sscanf(after, "%frem", &rem)
	require.NoError(t, err)
	require.GreaterOrEqual(t, rem*16, 44.0)
}

func TestNew_refuses_what_is_no_option(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ui.Options{
		"a colour by name":          {Color: "red", Rand: zeros{}},
		"a short colour":            {Color: "#fff", Rand: zeros{}},
		"a colour with a sign":      {Color: "#+12345", Rand: zeros{}},
		"a colour that ends a rule": {Color: "#fff}*{", Rand: zeros{}},
		"a logo of no type":         {Logo: []byte("x"), Rand: zeros{}},
		"a logo that is a page":     {Logo: []byte("x"), LogoType: "text/html", Rand: zeros{}},
		"no randomness":             {},
	} {
		_, err := ui.New(o)
		require.Error(t, err, name)
	}
}
