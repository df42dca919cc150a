package server

import (
	"net/http"
	"sort"
	"strings"

	"github.com/gorilla/mux"

	"github.com/grantorhq/grantor/server/oauth"
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
	quiet   bool  // logged at debug level: probes and verifiers ask every few seconds
	page    bool  // people see it: errors are pages too, and HEAD is not answered

	// Other sites may post here: applications send people with a form of their own. The
	// other pages take only what comes from this site.
	crossSite bool
}

// table is every route there is.
func (s *Server) table() []route {
	return []route{
		{path: "/oauth2/auth", methods: both(s.oauth.Authorize, s.oauth.Authorize), body: formLimit, page: true, crossSite: true},
		{path: "/oauth2/error", methods: get(s.oauth.ErrorPage), page: true},
		{path: "/oauth2/token", methods: post(s.oauth.Token), cors: corsRegistered, body: formLimit},
		{path: "/oauth2/introspect", methods: post(s.oauth.Introspect), body: formLimit},
		{path: "/oauth2/revoke", methods: post(s.oauth.Revoke), cors: corsRegistered, body: formLimit},
		{path: "/userinfo", methods: both(s.oauth.Userinfo, s.oauth.Userinfo), cors: corsRegistered, body: formLimit},
		{path: "/.well-known/openid-configuration", methods: get(s.oauth.Metadata), cors: corsAnyone, quiet: true},
		{path: "/.well-known/oauth-authorization-server", methods: get(s.oauth.Metadata), cors: corsAnyone, quiet: true},
		{path: "/.well-known/jwks.json", methods: get(s.oauth.JWKS), cors: corsAnyone, quiet: true},
		{path: "/oauth2/logout", methods: both(s.oauth.Logout, s.oauth.Logout), body: formLimit, page: true, crossSite: true},
		{path: "/login", methods: both(s.login.SignInPage, s.login.SignIn), body: formLimit, page: true},
		{path: "/consent", methods: both(s.login.ConsentPage, s.login.Consent), body: formLimit, page: true},
		{path: "/logout", methods: both(s.login.SignOutPage, s.login.SignOut), body: formLimit, page: true},
		{path: "/account", methods: both(s.login.AccountPage, s.login.Account), body: formLimit, page: true},
		{path: "/", methods: get(s.home), page: true},
		{path: "/ui/style.css", methods: get(s.pages.Style), quiet: true},
		{path: "/ui/logo", methods: get(s.pages.Logo), quiet: true},
		{path: "/ui/icon", methods: get(s.pages.Icon), quiet: true},
		{path: "/healthz", methods: get(s.healthz), quiet: true},
		{path: "/readyz", methods: get(s.readyz), quiet: true},
	}
}

func get(e endpoint) map[string]endpoint { return map[string]endpoint{http.MethodGet: e} }

func post(e endpoint) map[string]endpoint { return map[string]endpoint{http.MethodPost: e} }

func both(read, write endpoint) map[string]endpoint {
	return map[string]endpoint{http.MethodGet: read, http.MethodPost: write}
}

func (s *Server) routes() http.Handler {
	// Paths are compared as they were sent: a cleaned path and a redirect to it are two readings of one request.
	router := mux.NewRouter().SkipClean(true)
	for _, r := range s.table() {
		// Not Path: it would ask a regular expression for every line of the table.
		router.MatcherFunc(at(r.path)).Handler(s.around(r))
	}
	page, program := s.around(route{path: "unknown", page: true}), s.around(route{path: "unknown"})
	router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			page.ServeHTTP(w, r)
			return
		}
		program.ServeHTTP(w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Router.ServeHTTP would copy the request twice to tell handlers their route and its
		// variables. Ours know their route, and there are no variables.
		var found mux.RouteMatch
		router.Match(r, &found)
		found.Handler.ServeHTTP(w, r)
	})
}

func at(path string) mux.MatcherFunc {
	return func(r *http.Request, _ *mux.RouteMatch) bool { return r.URL.Path == path }
}

// home leads who types the server's name to their account.
func (s *Server) home(w http.ResponseWriter, _ *http.Request) error {
	return oauth.SeeOther(w, s.base+"/account")
}

// allowed lists the methods of a route, as the Allow header wants them.
func (r route) allowed() string {
	names := []string{}
	for name := range r.methods {
		names = append(names, name)
		if name == http.MethodGet && !r.page {
			names = append(names, http.MethodHead)
		}
	}
	if r.cors != corsNone {
		names = append(names, http.MethodOptions)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}
