package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is one setting: its tags, and the place in a Config that it fills.
type field struct {
	key      string
	fallback string
	check    string
	flag     string
	doc      string
	value    reflect.Value
}

// fields lists the settings of c in the order of the struct.
func fields(c *Config) []field {
	v := reflect.ValueOf(c).Elem()
	var list []field
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		key, ok := tag.Lookup("key")
		if !ok {
			continue
		}
		list = append(list, field{
			key: key, fallback: tag.Get("default"), check: tag.Get("check"),
			flag: tag.Get("flag"), doc: tag.Get("doc"), value: v.Field(i),
		})
	}
	return list
}

func (f field) variable() string { return variableOf(f.key) }

// variableOf: a dot is for files, where groups are written as such.
func variableOf(key string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// quote shows a value in an error, unless it is one that nobody may see.
func (f field) quote() string {
	switch v := f.value.Interface().(type) {
	case Secret:
		return masked
	case time.Duration:
		return shortDuration(v)
	case Networks:
		return shorten(strings.Join(v.Strings(), " "))
	case fmt.Stringer:
		return strconv.Quote(shorten(v.String()))
	case string:
		return strconv.Quote(shorten(v))
	default:
		return shorten(fmt.Sprintf("%q", v))
	}
}

// shorten keeps an error line readable when somebody sets a whole file.
func shorten(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// decode puts a value as a file, a variable or a flag writes it into the field.
// The problem it answers never contains the value, which may be a secret.
func (f field) decode(raw any) (problem, todo string) {
	if raw == nil {
		return "has no value", "give it one, or remove the line"
	}
	switch f.value.Interface().(type) {
	case time.Duration:
		return f.decodeDuration(raw)
	case int:
		return f.decodeInt(raw)
	case []string:
		return f.decodeList(raw)
	case Networks:
		return f.decodeNetworks(raw)
	case Secret:
		return f.decodeSecret(raw)
	default:
		text, ok := raw.(string)
		if !ok {
			return "is not text", "write it in quotes: " + f.key + `: "…"`
		}
		f.value.SetString(text)
		return "", ""
	}
}

func (f field) decodeDuration(raw any) (problem, todo string) {
	const todoUnit = "write a number with its unit, such as 90s, 10m or 336h"
	text, ok := raw.(string)
	if !ok {
		return "is not a span of time", todoUnit
	}
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		return "is not a span of time", todoUnit
	}
	f.value.SetInt(int64(d))
	return "", ""
}

func (f field) decodeInt(raw any) (problem, todo string) {
	switch n := raw.(type) {
	case int:
		f.value.SetInt(int64(n))
		return "", ""
	case string:
		if i, err := strconv.Atoi(strings.TrimSpace(n)); err == nil {
			f.value.SetInt(int64(i))
			return "", ""
		}
	}
	return "is not a whole number", "write digits only, such as " + f.fallback
}

func (f field) decodeList(raw any) (problem, todo string) {
	words, ok := words(raw)
	if !ok {
		return "is not a list of words", "write " + f.key + ": [" + strings.ReplaceAll(f.check, "|", ", ") + "] with those you mean"
	}
	if len(words) == 0 {
		words = nil
	}
	f.value.Set(reflect.ValueOf(words))
	return "", ""
}

func (f field) decodeSecret(raw any) (problem, todo string) {
	words, ok := words(raw)
	if !ok {
		return "is not text or a list of texts", "write each secret in quotes"
	}
	f.value.SetString(strings.Join(words, "\n"))
	return "", ""
}

// words reads a list of a file, or a text separated by blanks, lines or commas.
func words(raw any) ([]string, bool) {
	switch v := raw.(type) {
	case string:
		return strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' }), true
	case []string:
		return v, true
	case []any:
		var list []string
		for _, e := range v {
			text, ok := e.(string)
			if !ok {
				return nil, false
			}
			list = append(list, text)
		}
		return list, true
	}
	return nil, false
}
