// Command resource-server is an API that a Grantor protects, in the few lines that a
// resource server needs. Copy from it.
//
//	GET /              who is calling, by verifying the access token here (verify.go):
//	                   the server's public keys are all it takes, nobody is asked
//	GET /introspected  the same by asking the server about the token (introspect.go):
//	                   slower, but it hears of a revocation at once, and it reads
//	                   opaque tokens too
//
// Both refuse refresh tokens, ID tokens, and tokens for somebody else.
//
// Try it beside `grantor serve --dev`:
//
//	go run ./examples/resource-server
//	curl -H "Authorization: Bearer $access" http://127.0.0.1:9090/
//
// /introspected needs a client that may introspect, in the environment:
// CLIENT_ID and CLIENT_SECRET. Scripts of a browser application (examples/spa) may call
// with --allowed-origin (cors.go).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "resource-server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	flags := flag.NewFlagSet("resource-server", flag.ContinueOnError)
	issuer := flags.String("issuer", "http://127.0.0.1:8080", "the server that issues tokens, exactly as its metadata spells it")
	audience := flags.String("audience", "", "who this API is, in the aud of tokens (default the issuer, as in tokens of a client without --audience)")
	address := flags.String("address", "127.0.0.1:9090", "HOST:PORT to listen on")
	var allowed origins
	flags.Var(&allowed, "allowed-origin", "a browser `ORIGIN` whose scripts may call, repeatable")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *audience == "" {
		*audience = *issuer
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	api := newAPI(*issuer, *audience, getenv("CLIENT_ID"), getenv("CLIENT_SECRET"), time.Now)
	server := &http.Server{
		Handler:           allowed.allow(api),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	fmt.Fprintf(out, "resource server: http://%s (accepts tokens of %s for %s)\n", listener.Addr(), *issuer, *audience)

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

// caller is what both ways learn from a token.
type caller struct {
	Subject  string    `json:"subject"`
	ClientID string    `json:"client_id"`
	Scope    string    `json:"scope"`
	Expires  time.Time `json:"expires"`
}

// check answers who holds a token. It answers errToken for one that must not be
// accepted, and any other error when it could not find out.
type check func(ctx context.Context, token string) (caller, error)

var errToken = errors.New("token refused")

func newAPI(issuer, audience, clientID, clientSecret string, now func() time.Time) http.Handler {
	m := &metadata{issuer: issuer, now: now, client: &http.Client{
		Timeout: 2 * time.Second,
		// Metadata, keys and introspection are where the issuer says. A redirect would
		// send the client's secret somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	routes := http.NewServeMux()
	routes.Handle("GET /{$}", whoami(verifier{metadata: m, audience: audience}.check))
	routes.Handle("GET /introspected", whoami(introspector{metadata: m, audience: audience, clientID: clientID, clientSecret: clientSecret}.check))
	return routes
}

// whoami is RFC 6750: the token comes in the Authorization header and nowhere else,
// because query strings end in logs.
func whoami(check check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="example"`)
			http.Error(w, "an access token is needed", http.StatusUnauthorized)
			return
		}
		who, err := check(r.Context(), strings.TrimLeft(token, " "))
		switch {
		case errors.Is(err, errToken):
			w.Header().Set("WWW-Authenticate", `Bearer realm="example", error="invalid_token"`)
			http.Error(w, "the access token is not valid here", http.StatusUnauthorized)
		case err != nil:
			// Not the token's fault: a 401 would log people out because of an outage.
			fmt.Fprintln(os.Stderr, "resource-server:", err)
			w.Header().Set("Retry-After", "1")
			http.Error(w, "tokens can not be checked at the moment", http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(who)
		}
	})
}
