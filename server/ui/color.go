package ui

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Contrast that WCAG 2.2 asks for at level AA: 1.4.3 for text, 1.4.11 for what is no text.
const (
	contrastText  = 4.5
	contrastShape = 3.0
)

// color is in sRGB.
type color struct{ r, g, b uint8 }

var (
	black = color{0, 0, 0}
	white = color{255, 255, 255}
)

// parseColor reads #rrggbb.
func parseColor(s string) (color, error) {
	digits, ok := strings.CutPrefix(s, "#")
	n, err := strconv.ParseUint(digits, 16, 32)
	if !ok || len(digits) != 6 || err != nil {
		return color{}, fmt.Errorf("the colour %q is not of the form #rrggbb", s)
	}
	return color{uint8(n >> 16), uint8(n >> 8 & 0xff), uint8(n & 0xff)}, nil
}

func (c color) String() string { return fmt.Sprintf("#%02x%02x%02x", c.r, c.g, c.b) }

// luminance is the relative luminance of WCAG 2.2.
func (c color) luminance() float64 {
	linear := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.r) + 0.7152*linear(c.g) + 0.0722*linear(c.b)
}

// contrast is the contrast ratio of WCAG 2.2, from 1 to 21.
func contrast(a, b color) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// mix goes from c towards d: part 0 is c, 1 is d.
func (c color) mix(d color, part float64) color {
	channel := func(x, y uint8) uint8 { return uint8(math.Round(float64(x) + (float64(y)-float64(x))*part)) }
	return color{channel(c.r, d.r), channel(c.g, d.g), channel(c.b, d.b)}
}

// against moves c towards an end, and no further than needed, until it stands out from
// every background.
func (c color) against(least float64, towards color, backgrounds ...color) color {
	const steps = 100
	for i := range steps {
		moved := c.mix(towards, float64(i)/steps)
		enough := true
		for _, background := range backgrounds {
			enough = enough && contrast(moved, background) >= least
		}
		if enough {
			return moved
		}
	}
	return towards
}

// on is the colour of text on c. One of the two always has a contrast of 4.58 at least.
func (c color) on() color {
	if contrast(white, c) >= contrastText {
		return white
	}
	return black
}

// theme is one set of colours: light or dark.
type theme struct {
	end                color  // what an accent moves towards until it can be read here
	ground, card       string // the page, and the card on it
	text, muted        string
	line, edge         string // between things; around fields
	danger, dangerSoft string // text, and the ground it stands on
	good, goodSoft     string
	warn, warnSoft     string
}

var (
	light = theme{
		end:    black,
		ground: "#f3f4f6", card: "#ffffff",
		text: "#1b1f24", muted: "#555d68",
		line: "#dde1e6", edge: "#7a828d",
		danger: "#a3211a", dangerSoft: "#fdeeec",
		good: "#17633a", goodSoft: "#e9f6ee",
		warn: "#6d4a04", warnSoft: "#fdf4e0",
	}
	dark = theme{
		end:    white,
		ground: "#121418", card: "#1c1f25",
		text: "#e8ebef", muted: "#a7afba",
		line: "#343a44", edge: "#7b8491",
		danger: "#ffb4ab", dangerSoft: "#3b1e1c",
		good: "#93dbad", goodSoft: "#17301f",
		warn: "#f1cb7c", warnSoft: "#332a16",
	}
)

// properties writes the custom properties of a theme with an accent.
func (t theme) properties(accent color) string {
	// The tables above are well formed: a test reads them.
	card, _ := parseColor(t.card)
	ground, _ := parseColor(t.ground)

	fill := accent
	if t.end == white {
		// A dark accent would sink into a dark card. On white, a light one keeps its
		// colour and gets an edge.
		fill = accent.against(contrastShape, t.end, card)
	}
	soft := card.mix(accent, 0.1)
	readable := accent.against(contrastText, t.end, card, ground, soft)
	edge := fill
	if contrast(fill, card) < contrastShape {
		edge = readable
	}
	on := fill.on()
	away := black
	if on == black {
		away = white
	}

	var b strings.Builder
	for _, property := range []struct{ name, value string }{
		{"ground", t.ground},
		{"card", t.card},
		{"text", t.text},
		{"muted", t.muted},
		{"line", t.line},
		{"edge", t.edge},
		{"danger", t.danger},
		{"danger-soft", t.dangerSoft},
		{"good", t.good},
		{"good-soft", t.goodSoft},
		{"warn", t.warn},
		{"warn-soft", t.warnSoft},
		{"accent", fill.String()},
		{"accent-hover", fill.mix(away, 0.14).String()},
		{"accent-edge", edge.String()},
		{"on-accent", on.String()},
		{"accent-text", readable.String()},
		{"accent-soft", soft.String()},
	} {
		b.WriteString("  --" + property.name + ": " + property.value + ";\n")
	}
	return b.String()
}

// customProperties is the generated head of the style sheet.
func customProperties(accent color) string {
	return ":root {\n  color-scheme: light dark;\n" + light.properties(accent) + "}\n\n" +
		"@media (prefers-color-scheme: dark) {\n:root {\n" + dark.properties(accent) + "}\n}\n\n"
}
