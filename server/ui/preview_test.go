package ui_test

import (
	"crypto/rand"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/ui"
)

var preview = flag.String("preview", "", "serve all canned pages at this loopback address, until interrupted")

// Every page with canned data, to be looked at:
//
//	go test ./server/ui -run Preview -preview 127.0.0.1:8099 -timeout 0
func TestPreview(t *testing.T) {
	if *preview == "" {
		t.Skip("only with -preview ADDRESS: serves every page to look at")
	}
	host, _, err := net.SplitHostPort(*preview)
	require.NoError(t, err)
	require.True(t, net.ParseIP(host).IsLoopback(), "loopback only")

	mux := http.NewServeMux()
	for prefix, options := range map[string]ui.Options{
		"":         {},
		"/sun":     {Name: "Sun Cooperative", Color: "#ffcc00"},
		"/navy":    {Name: "Harbour Office", Color: "#000060"},
		"/branded": {Name: "Meadow", Color: "#0b7a4b", Logo: []byte(logo), LogoType: "image/svg+xml"},
	} {
		options.Base, options.Rand = prefix, rand.Reader
		pages, err := ui.New(options)
		require.NoError(t, err)
		for _, s := range append(canned(), hostile()...) {
			mux.HandleFunc(prefix+"/"+s.name, func(w http.ResponseWriter, r *http.Request) {
				_ = pages.Write(w, r, ui.View{Locales: r.URL.Query().Get("ui_locales")}, s.page)
			})
		}
		mux.HandleFunc(prefix+"/ui/style.css", func(w http.ResponseWriter, r *http.Request) { _ = pages.Style(w, r) })
		mux.HandleFunc(prefix+"/ui/logo", func(w http.ResponseWriter, r *http.Request) { _ = pages.Logo(w, r) })
	}
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for _, s := range append(canned(), hostile()...) {
			fmt.Fprintf(w, `<p><a href="/%[1]s">%[1]s</a> <a href="/%[1]s?ui_locales=de">de</a>`, s.name)
		}
	})
	fmt.Fprintf(os.Stderr, "http://%s/\n", *preview)
	server := &http.Server{Addr: *preview, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	require.NoError(t, server.ListenAndServe())
}

const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="#0b7a4b"/><path d="M9 17l5 5 9-11" fill="none" stroke="#fff" stroke-width="3"/></svg>`
