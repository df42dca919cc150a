package server

import (
	"net/http"
	"sort"
	"strings"

	"github.com/gorilla/mux"
)

// endpoint writes a success or returns an error, which errors.go renders.
type endpoint func(http.ResponseWriter, *http.Request) error

// cors says which browser origins may read the answers.
type cors int

const (
	corsNone       cors = iota
	corsAnyone          // public documents: *, without credentials
	corsRegistered      // origins that a client is registered with
)

// formLimit bounds a form, in bytes.
const formLimit = 64 << 10

// route is one line of the table.
type route struct {
	path    string
	methods map[string]endpoint
	cors    cors
	body    int64 // most bytes of a body; 0: none is read
	quiet   bool  // logged at debug level: probes ask every second
}

// table is every route there is.
func (s *Server) table() []route {
	return []route{
		{path: "/oauth2/token", methods: post(s.oauth.Token), cors: corsRegistered, body: formLimit},
		{path: "/oauth2/introspect", methods: post(s.oauth.Introspect), body: formLimit},
		{path: "/oauth2/revoke", methods: post(s.oauth.Revoke), cors: corsRegistered, body: formLimit},
		{path: "/userinfo", methods: map[string]endpoint{http.MethodGet: s.oauth.Userinfo, http.MethodPost: s.oauth.Userinfo}, cors: corsRegistered, body: formLimit},
		{path: "/.well-known/openid-configuration", methods: get(s.oauth.Metadata), cors: corsAnyone},
		{path: "/.well-known/oauth-authorization-server", methods: get(s.oauth.Metadata), cors: corsAnyone},
		{path: "/.well-known/jwks.json", methods: get(s.oauth.JWKS), cors: corsAnyone},
		{path: "/healthz", methods: get(s.healthz), quiet: true},
		{path: "/readyz", methods: get(s.readyz), quiet: true},
	}
}

func get(e endpoint) map[string]endpoint { return map[string]endpoint{http.MethodGet: e} }

func post(e endpoint) map[string]endpoint { return map[string]endpoint{http.MethodPost: e} }

func (s *Server) routes() http.Handler {
	// Paths are compared as they were sent: a cleaned path and a redirect to it are two readings of one request.
	router := mux.NewRouter().SkipClean(true)
	for _, r := range s.table() {
		router.Path(r.path).Handler(s.around(r))
	}
	router.NotFoundHandler = s.around(route{path: "unknown", methods: nil})
	return router
}

// allowed lists the methods of a route, as the Allow header wants them.
func (r route) allowed() string {
	names := []string{}
	for name := range r.methods {
		names = append(names, name)
		if name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	if r.cors != corsNone {
		names = append(names, http.MethodOptions)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}
