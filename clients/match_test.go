package clients_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
)

// attacks.md section 6: c1 is a client on the web, n1 an app that listens on a port.
func TestMatchRedirectURI(t *testing.T) {
	c1 := &clients.Client{RedirectURIs: []string{"https://app.test/cb", "https://app.test/cb2?x=1"}}
	n1 := &clients.Client{Public: true, RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]:7000/cb?x=1", "com.example.app:/cb"}}
	tls := &clients.Client{RedirectURIs: []string{"https://127.0.0.1/cb"}}
	bare := &clients.Client{RedirectURIs: []string{"http://127.0.0.1"}}
	for name, c := range map[string]struct {
		client *clients.Client
		uri    string
		match  bool
	}{
		"the first":  {c1, "https://app.test/cb", true},
		"the second": {c1, "https://app.test/cb2?x=1", true},

		"A-01 another host":              {c1, "https://evil.test/cb", false},
		"A-02 registered as a prefix":    {c1, "https://app.test.evil.test/cb", false},
		"A-02 dot as a pattern":          {c1, "https://appxtest/cb", false},
		"A-02 longer path":               {c1, "https://app.test/cbx", false},
		"A-03 slash at the end":          {c1, "https://app.test/cb/", false},
		"A-03 capitals in the path":      {c1, "https://app.test/CB", false},
		"A-03 capitals in the host":      {c1, "https://APP.test/cb", false},
		"A-03 capitals in the scheme":    {c1, "HTTPS://app.test/cb", false},
		"A-03 escaped":                   {c1, "https://app.test/%63b", false},
		"A-04 a query more":              {c1, "https://app.test/cb?x=1", false},
		"A-04 an empty query":            {c1, "https://app.test/cb?", false},
		"A-04 a query less":              {c1, "https://app.test/cb2", false},
		"A-04 another query":             {c1, "https://app.test/cb2?x=2", false},
		"A-04 a parameter more":          {c1, "https://app.test/cb2?x=1&y=2", false},
		"A-05 fragment":                  {c1, "https://app.test/cb#frag", false},
		"A-05 empty fragment":            {c1, "https://app.test/cb#", false},
		"A-06 another port":              {c1, "https://app.test:8443/cb", false},
		"A-06 the default port":          {c1, "https://app.test:443/cb", false},
		"A-06 another scheme":            {c1, "http://app.test/cb", false},
		"A-07 javascript":                {c1, "javascript:alert(1)", false},
		"A-07 data":                      {c1, "data:text/html,x", false},
		"A-11 none":                      {c1, "", false},
		"A-16 climbing":                  {c1, "https://app.test/cb/..%2fevil", false},
		"A-16 climbing in the open":      {c1, "https://app.test/evil/../cb", false},
		"A-16 parameter of the path":     {c1, "https://app.test/cb;x", false},
		"user name":                      {c1, "https://evil.test@app.test/cb", false},
		"backslash":                      {c1, `https://app.test\cb`, false},
		"blank before":                   {c1, " https://app.test/cb", false},
		"line break behind":              {c1, "https://app.test/cb\n", false},
		"NUL behind":                     {c1, "https://app.test/cb\x00", false},
		"two in one":                     {c1, "https://app.test/cb https://app.test/cb", false},
		"a web client is on no loopback": {c1, "http://127.0.0.1/cb", false},

		"A-08 any port":                      {n1, "http://127.0.0.1:51004/cb", true},
		"A-08 no port":                       {n1, "http://127.0.0.1/cb", true},
		"A-08 the last port":                 {n1, "http://127.0.0.1:65535/cb", true},
		"A-08 IPv6, any port":                {n1, "http://[::1]:51004/cb?x=1", true},
		"A-08 IPv6, no port":                 {n1, "http://[::1]/cb?x=1", true},
		"A-08 IPv6, the registered one":      {n1, "http://[::1]:7000/cb?x=1", true},
		"A-08 without path":                  {bare, "http://127.0.0.1:9", true},
		"A-08 a path where none is":          {bare, "http://127.0.0.1:9/", false},
		"A-09 https was registered":          {tls, "http://127.0.0.1:9/cb", false},
		"A-09 https, another port":           {tls, "https://127.0.0.1:9/cb", false},
		"A-09 http was registered":           {n1, "https://127.0.0.1:9/cb", false},
		"A-10 another path":                  {n1, "http://127.0.0.1:9/other", false},
		"A-10 a query more":                  {n1, "http://127.0.0.1:9/cb?code=x", false},
		"A-10 an empty query":                {n1, "http://127.0.0.1:9/cb?", false},
		"A-10 a query less":                  {n1, "http://[::1]:9/cb", false},
		"A-10 another query":                 {n1, "http://[::1]:9/cb?x=2", false},
		"loopback, path of the other":        {n1, "http://127.0.0.1:9/cb?x=1", false},
		"loopback, slash at the end":         {n1, "http://127.0.0.1:9/cb/", false},
		"loopback, no path":                  {n1, "http://127.0.0.1:9", false},
		"loopback, capitals in the path":     {n1, "http://127.0.0.1:9/CB", false},
		"loopback, capitals in the scheme":   {n1, "HTTP://127.0.0.1:9/cb", false},
		"loopback, escaped":                  {n1, "http://127.0.0.1:9/%63b", false},
		"loopback, fragment":                 {n1, "http://127.0.0.1:9/cb#x", false},
		"loopback, fragment first":           {n1, "http://127.0.0.1:9#/cb", false},
		"loopback, user name":                {n1, "http://u@127.0.0.1:9/cb", false},
		"loopback as user name":              {n1, "http://127.0.0.1@evil.test/cb", false},
		"loopback and port as user":          {n1, "http://127.0.0.1:80@evil.test/cb", false},
		"loopback and port as user, no path": {bare, "http://127.0.0.1:80@evil.test", false},
		"loopback as a prefix":               {n1, "http://127.0.0.1.evil.test/cb", false},
		"loopback and more digits":           {n1, "http://127.0.0.10/cb", false},
		"loopback, backslash":                {bare, `http://127.0.0.1\@evil.test`, false},
		"loopback, port and backslash":       {bare, `http://127.0.0.1:9\@evil.test`, false},
		"another loopback address":           {n1, "http://127.0.0.2:9/cb", false},
		"localhost":                          {n1, "http://localhost:9/cb", false},
		"loopback in short":                  {n1, "http://127.1:9/cb", false},
		"loopback as a number":               {n1, "http://2130706433:9/cb", false},
		"IPv6 in full":                       {n1, "http://[0:0:0:0:0:0:0:1]:9/cb?x=1", false},
		"IPv4 in IPv6":                       {n1, "http://[::ffff:127.0.0.1]:9/cb", false},
		"IPv6 with a zone":                   {n1, "http://[::1%25lo]:9/cb?x=1", false},
		"port 0":                             {n1, "http://127.0.0.1:0/cb", false},
		"port 65536":                         {n1, "http://127.0.0.1:65536/cb", false},
		"port with a zero before":            {n1, "http://127.0.0.1:080/cb", false},
		"port with a sign":                   {n1, "http://127.0.0.1:+80/cb", false},
		"port of other digits":               {n1, "http://127.0.0.1:\u0668/cb", false},
		"empty port":                         {n1, "http://127.0.0.1:/cb", false},
		"two ports":                          {n1, "http://127.0.0.1:80:90/cb", false},
		"NUL after the port":                 {n1, "http://127.0.0.1:80\x00/cb", false},

		"native":                {n1, "com.example.app:/cb", true},
		"native, another path":  {n1, "com.example.app:/cb2", false},
		"native, more slashes":  {n1, "com.example.app:///cb", false},
		"native, a query":       {n1, "com.example.app:/cb?x=1", false},
		"native, in capitals":   {n1, "COM.example.app:/cb", false},
		"native, another owner": {n1, "com.example.app2:/cb", false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.match, c.client.MatchRedirectURI(c.uri), c.uri) })
	}
	require.False(t, new(clients.Client).MatchRedirectURI(""), "no URI is none of none")
	require.False(t, (&clients.Client{RedirectURIs: []string{""}}).MatchRedirectURI(""))
}

// Whatever matches could have been registered, and a parser that is not ours finds in it
// the registered host, path and query.
func FuzzMatchRedirectURI(f *testing.F) {
	for _, uri := range []string{
		"http://127.0.0.1:9/cb", "http://[::1]:9/cb?x=1", "http://127.0.0.1:9@evil.test/cb", "http://127.0.0.1:9/cb#", "https://app.test/cb", `http://127.0.0.1:9\cb`, "http://127.0.0.1:99999/cb",
	} {
		f.Add(uri)
	}
	client := &clients.Client{Public: true, RedirectURIs: []string{"https://app.test/cb", "http://127.0.0.1/cb", "http://[::1]/cb?x=1"}}
	f.Fuzz(func(t *testing.T, uri string) {
		if !client.MatchRedirectURI(uri) {
			return
		}
		require.NoError(t, clients.CheckRedirectURI(uri, true))
		u, err := url.Parse(uri)
		require.NoError(t, err)
		u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
		require.Contains(t, client.RedirectURIs, u.String())
	})
}

func TestNative(t *testing.T) {
	for uri, native := range map[string]bool{
		"com.example.app:/cb":           true,
		"http://127.0.0.1/cb":           true,
		"http://127.0.0.1:51004/cb":     true,
		"http://[::1]/cb":               true,
		"https://localhost/cb":          true,
		"https://[::1]:8443/cb":         true,
		"https://app.test/cb":           false,
		"https://127.0.0.1.app.test/cb": false,
		"https://localhost.app.test/cb": false,
	} {
		require.Equal(t, native, (&clients.Client{Public: true}).Native(uri), uri)
		require.False(t, (&clients.Client{}).Native(uri), "it has a secret: %s", uri)
	}
}
