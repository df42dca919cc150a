package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

const formType = "application/x-www-form-urlencoded"

// ReadForm reads the parameters of a POST, and refuses whatever two readers could
// understand differently: RFC 6749 section 3.2 allows one value per parameter, none
// in the query, and one content type. Only resource (RFC 8707 section 2) and
// audience (RFC 8693 section 2.1) may repeat. The body's bound is the route's.
func ReadForm(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery != "" {
		return nil, invalidRequest("parameters in the query are not read")
	}
	if kind := r.Header.Get("Content-Type"); kind != formType { // nearly everybody writes it just so
		if kind, _, err := mime.ParseMediaType(kind); err != nil || kind != formType {
			return nil, invalidRequest("the content type is not " + formType)
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyFault(err)
	}
	return parse(string(body))
}

// ReadQuery reads the parameters of a GET by the same rules.
func ReadQuery(r *http.Request) (url.Values, error) { return parse(r.URL.RawQuery) }

func parse(text string) (url.Values, error) {
	form, err := url.ParseQuery(text)
	if err != nil {
		return nil, invalidRequest("the parameters are not form-encoded")
	}
	for name, values := range form {
		if len(values) > 1 && name != "resource" && name != "audience" {
			return nil, invalidRequest("a parameter is repeated")
		}
		if !clean(name) {
			return nil, invalidRequest("a parameter name is not text")
		}
		for _, value := range values {
			if !clean(value) {
				return nil, invalidRequest("a parameter value is not text")
			}
		}
	}
	return form, nil
}

// bodyFault tells a body that is too long (the server says 413) from one that broke off.
func bodyFault(err error) error {
	if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
		return tooLong
	}
	broken := invalidRequest("the body ended early")
	broken.Cause = err
	return broken
}

// clean: PostgreSQL keeps neither NUL nor broken UTF-8, and no honest client sends them.
func clean(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}
