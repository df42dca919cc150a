package main

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// origins are the browser applications whose scripts may call this API and read its
// answers (Fetch standard, section 3.2). The token is in a header that only a script
// sets; the browser adds nothing of its own, so Access-Control-Allow-Credentials is
// missing here on purpose.
type origins []string

// String and Set make origins a repeatable flag.
func (o *origins) String() string { return strings.Join(*o, " ") }

func (o *origins) Set(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || origin != u.Scheme+"://"+u.Host {
		return errors.New("an origin is written as a browser sends it: https://host or https://host:port")
	}
	*o = append(*o, origin)
	return nil
}

// allow answers preflights, and lets scripts of these origins read what api answers.
func (o origins) allow(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Add("Vary", "Origin") // or a cache hands one origin's answer to another
		origin := r.Header.Get("Origin")
		allowed := origin != "" && slices.Contains(o, origin)
		if allowed {
			header.Set("Access-Control-Allow-Origin", origin)
			// What a client has to know: is the token at fault, and when to come back.
			header.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
		}
		if !preflight(r) {
			api.ServeHTTP(w, r)
			return
		}
		if allowed {
			header.Set("Access-Control-Allow-Methods", "GET")
			header.Set("Access-Control-Allow-Headers", "Authorization")
			header.Set("Access-Control-Max-Age", "600")
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// preflight is the browser's question before the request itself. It bears no token.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}
