package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// table prints rows under a head. Every cell is made safe by plain.
func table(w io.Writer, head []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = plain(cell)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// pairs prints one name and value per line.
func pairs(w io.Writer, list ...[2]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range list {
		fmt.Fprintf(t, "%s\t%s\n", p[0], plain(p[1]))
	}
	return t.Flush()
}

// writeJSON prints a value for programs. What JSON leaves as it is but a terminal
// would obey (C1 controls, bidirectional overrides) is escaped, which loses nothing.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err := io.WriteString(w, escapeRunes(b.String(), func(r rune) bool { return r != '\n' && hostile(r) }))
	return err
}

// plain is text for a table: quoted when it holds anything that does not simply
// show, so that a name can neither move the cursor nor pretend to be another line.
func plain(text string) string {
	if text == "" {
		return "-"
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, hostile) {
		return strconv.QuoteToGraphic(text)
	}
	return text
}

// oneLine is text for an error: lines become clauses (drivers like to break them,
// and to say one thing twice), and what does not simply show is escaped.
func oneLine(text string) string {
	var clauses []string
	for line := range strings.Lines(strings.ToValidUTF8(text, "\ufffd")) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(clauses, line) {
			clauses = append(clauses, line)
		}
	}
	line := strings.ReplaceAll(strings.Join(clauses, "; "), ":; ", ": ")
	return escapeRunes(line, hostile)
}

// hostile: controls, formatting characters (among them bidirectional overrides),
// line and paragraph separators.
func hostile(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

func escapeRunes(text string, bad func(rune) bool) string {
	if !strings.ContainsFunc(text, bad) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if !bad(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// stamp is a time as people and sort(1) read it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// optional is a time in JSON: null when there is none.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatInt(n, 10) + " " + noun + "s"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
