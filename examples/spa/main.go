// Command spa serves a browser application of one static page: it signs people in with
// a Grantor by the authorization code flow with PKCE, calls the example API
// (examples/resource-server) and renews its access token without asking anybody. Copy
// from it.
//
//	page/index.html  what is shown
//	page/app.js      the page: buttons, status, when the token expires
//	page/session.js  the tokens, in memory only: renewal, other tabs, signing out
//	page/oauth.js    the protocol: discovery, PKCE, redirect, token endpoint
//
// There is nothing to build, and no server-side part: this program only hands out
// files, tells the page whom to talk to (/config.json), and tells the browser what the
// page may do (security, below). The refresh token never reaches a script: the issuer
// keeps it in an HttpOnly cookie of its own.
//
// README.md has the commands to try it beside a Grantor.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "spa:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var c settings
	flags := flag.NewFlagSet("spa", flag.ContinueOnError)
	flags.StringVar(&c.Issuer, "issuer", "http://127.0.0.1:8080", "the server that people sign in at, exactly as its metadata spells it")
	flags.StringVar(&c.API, "api", "http://127.0.0.1:9090/", "the URL that the page calls with its access token")
	flags.StringVar(&c.ClientID, "client-id", "spa", "the page's client at the issuer")
	address := flags.String("address", "127.0.0.1:9091", "HOST:PORT to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	app, err := newApp(c)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           app,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	fmt.Fprintf(out, "browser application: http://%s/ (signs in at %s, calls %s)\n", listener.Addr(), c.Issuer, c.API)

	stopped := make(chan struct{})
	serving := context.AfterFunc(ctx, func() {
		defer close(stopped)
		limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(limit)
	})
	defer serving()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped // requests in flight are answered
	return nil
}

// settings is /config.json. Nothing in it is secret: a public client has no secrets.
type settings struct {
	Issuer   string `json:"issuer"`
	API      string `json:"api"`
	ClientID string `json:"client_id"`
}

//go:embed page
var page embed.FS

// newApp answers the five files of the page and its settings, and nothing else.
func newApp(c settings) (http.Handler, error) {
	issuer, err := originOf(c.Issuer)
	if err != nil {
		return nil, fmt.Errorf("--issuer: %w", err)
	}
	api, err := originOf(c.API)
	if err != nil {
		return nil, fmt.Errorf("--api: %w", err)
	}
	if c.ClientID == "" {
		return nil, errors.New("--client-id is empty")
	}
	config, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	routes := http.NewServeMux()
	routes.Handle("GET /config.json", file("application/json", config))
	for pattern, f := range map[string]struct{ name, mediaType string }{
		"GET /{$}":        {"index.html", "text/html; charset=utf-8"},
		"GET /app.js":     {"app.js", "text/javascript; charset=utf-8"},
		"GET /session.js": {"session.js", "text/javascript; charset=utf-8"},
		"GET /oauth.js":   {"oauth.js", "text/javascript; charset=utf-8"},
		"GET /style.css":  {"style.css", "text/css; charset=utf-8"},
		"GET /icon.svg":   {"icon.svg", "image/svg+xml"},
	} {
		content, err := page.ReadFile("page/" + f.name)
		if err != nil {
			return nil, err
		}
		routes.Handle(pattern, file(f.mediaType, content))
	}
	return security(issuer, api, routes), nil
}

func file(mediaType string, content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		// The client is gone when this fails; there is nobody to tell.
		_, _ = w.Write(content)
	})
}

// security tells the browser what the page needs, so that it refuses the rest. An
// injected script is the one thing that an application with tokens in memory has to
// fear: none but our own files run (no inline script, no eval, no string that becomes
// HTML), and what runs can send tokens to the issuer and the API only.
func security(issuer, api string, next http.Handler) http.Handler {
	policy := strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"img-src 'self'",
		"connect-src 'self' " + issuer + " " + api,
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		// The address has the authorization code in it for a moment: nobody is told.
		header.Set("Referrer-Policy", "no-referrer")
		// A page that opened this one, or was opened by it, gets no hold of it.
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// hostForm leaves out what would end a source in a Content-Security-Policy.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$|^\[[0-9a-f:]+\](:[0-9]+)?$`)

func originOf(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !hostForm.MatchString(u.Host) || u.User != nil || u.Fragment != "" {
		return "", fmt.Errorf("%q is not a URL like https://host or https://host:port/path", text)
	}
	return u.Scheme + "://" + u.Host, nil
}
