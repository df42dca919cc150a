package doctor

// Group is what a check looks at.
type Group string

// The groups, in the order in which they are told.
const (
	Outside Group = "outside"
	Inside  Group = "database"
	Secrets Group = "keys and secrets"
	Clients Group = "clients"
	Attacks Group = "attacks"
)

// Groups lists them.
func Groups() []Group { return []Group{Outside, Inside, Secrets, Clients, Attacks} }

// Check is one thing that is looked at. Its name is for scripts and never changes.
type Check struct {
	Name  string
	Group Group
	Good  string // what is found when nothing is wrong
	Why   string // the RFC section, or the reason
}

// Checks is the catalogue. docs/doctor.md has the same lines.
func Checks() []Check {
	var list []Check
	for _, g := range []struct {
		group  Group
		checks [][3]string
	}{{Outside, outsideChecks()}, {Inside, insideChecks()}, {Secrets, secretChecks()}, {Clients, clientChecks()}, {Attacks, attackChecks()}} {
		for _, line := range g.checks {
			list = append(list, Check{Name: line[0], Group: g.group, Good: line[1], Why: line[2]})
		}
	}
	return list
}

func outsideChecks() [][3]string {
	return [][3]string{
		{"issuer-reachable", "the issuer serves its metadata", "RFC 8414 section 3, OpenID Connect Discovery section 4: clients begin there"},
		{"issuer-equal", "the metadata names the issuer letter for letter", "RFC 8414 section 3.3, RFC 9207: a client must refuse another one"},
		{"endpoints", "every endpoint lies under the issuer and answers", "RFC 8414 section 2: what is advertised works, and a proxy passes it on"},
		{"jwks", "the published keys are those of this database", "RFC 9068 section 4: verifiers must find the key; another set is another database"},
		{"ready", "/readyz says yes", "the load balancer asks it"},
		{"tls-certificate", "the certificate is valid for the issuer's host", "RFC 9325, RFC 6749 section 3.1.2.1: everything here is only as safe as TLS"},
		{"tls-expiry", "the certificate is good for a while", "RFC 5280 section 4.1.2.5: clients stop on the day that it ends"},
		{"tls-version", "TLS 1.2 and later only", "RFC 8996: TLS 1.0 and 1.1 must not be used"},
		{"tls-hsts", "browsers are told to come by https only", "RFC 6797: the first request of a person who types the name goes by http otherwise"},
		{"plain-http", "port 80 of the host serves nothing of this server", "RFC 9700 section 2.6: an answer over http can be changed by anybody on the way"},
		{"clock-server", "the server's clock agrees with this one", "RFC 7519 section 4.1.4: tokens would end too early or too late"},
		{"no-store", "answers of the token endpoint are never kept", "RFC 6749 section 5.1: a cache in front would hand out somebody else's tokens"},
		{"challenge", "a refused client or token gets a WWW-Authenticate", "RFC 6749 section 5.2, RFC 6750 section 3: libraries read it, proxies like to drop it"},
		{"page-headers", "pages can not be framed and run no foreign script", "RFC 9700 section 4.16: clickjacking on the consent page"},
		{"private-paths", "no metrics or profiles at the public address", "they tell how the server is used and what is in its memory"},
		{"proxy-forged", "a forged X-Forwarded-For is not believed", "decision 0017: who is believed to come from anywhere is never slowed down"},
		{"proxy-trusted", "the address that is recorded is that of the caller", "decision 0017: behind a proxy that is not named all people share one address, and one of them locks out the rest"},
	}
}

func insideChecks() [][3]string {
	return [][3]string{
		{"database-reachable", "the database answers", "without it nothing is answered"},
		{"database-durable", "what was committed stays", "RFC 9700 section 4.14.2: a forgotten commit brings revoked and spent tokens back"},
		{"database-writable", "the database takes writes", "a standby serves no sign-in and no renewal"},
		{"database-version", "the database is recent enough", "PostgreSQL 15 or later is what is tested"},
		{"database-connections", "two replicas fit into its connections", "a replica is replaced while the old one still runs"},
		{"database-schema", "the schema is one that this program can run on", "an older one fails at the first statement that needs more"},
		{"clock-database", "the database's clock agrees with this one", "the retry window of 10 s is measured by several clocks"},
		{"housekeeping", "ended sessions are deleted", "otherwise the tables grow for ever"},
		{"password-hashes", "stored password hashes are as strong as new ones", "RFC 9700 does not say; OWASP password storage: a stolen table is guessed at the speed of its weakest hash"},
		{"sqlite-file", "nobody else may read the database file", "it holds password hashes and sealed keys"},
		{"sqlite-journal", "the database file has a write-ahead log", "without it readers wait for writers"},
		{"sqlite-filesystem", "the database file is on a local filesystem", "SQLite's locks and its write-ahead log do not work over a network"},
	}
}

func secretChecks() [][3]string {
	return [][3]string{
		{"settings", "nothing in the settings costs safety", "the same list as `grantor config check` and the server's start"},
		{"secret-strength", "server secrets are drawn at random", "RFC 8725 section 3.5: whoever guesses one makes every token and opens every key"},
		{"secret-count", "there is one server secret", "an old one that stays can still make tokens for who has it"},
		{"secret-files", "nobody else may read files with secrets", "every account of the machine could make tokens otherwise"},
		{"secret-opens", "the server secrets open this database's keys", "other secrets: no token of this database works, and a server does not start"},
		{"key-age", "signing keys are younger than 90 days", "NIST SP 800-57 part 1 section 5.3.6: limits what a key that leaked unnoticed is worth"},
		{"key-next", "the next signing key is published", "a key that signs before verifiers know it makes tokens that are refused"},
	}
}

func clientChecks() [][3]string {
	return [][3]string{
		{"client-registration", "today's rules would accept every registration", "RFC 7591 section 2: what is stored was written by another program, or by hand"},
		{"client-pkce", "every client must use PKCE", "RFC 9700 section 2.1.1: stops stolen and injected codes"},
		{"client-password-grant", "no client takes people's passwords", "RFC 9700 section 2.4: the password grant must not be used"},
		{"client-redirect-uri", "redirect URIs are exact, and https or on the device", "RFC 9700 section 2.1 and 4.1, RFC 8252 section 7 and 8.3"},
		{"client-refresh-token", "browser applications never see a refresh token", "RFC 9700 section 2.2.2, OAuth for browser-based applications: a script that runs there takes it away"},
		{"client-access-token", "access tokens live at most an hour", "RFC 9700 section 4.10: it is how long a stolen one works where nobody introspects"},
		{"client-session", "sessions end within a year", "RFC 9700 section 4.14: what is never asked for again is never noticed as stolen"},
		{"client-introspection", "resource servers may ask about their own tokens only", "RFC 9700 section 2.3, RFC 7662 section 4: one that leaks would tell about everybody's"},
		{"client-secret-age", "client secrets are in use and younger than a year", "RFC 9700 section 2.5: a secret that nobody uses is only there to be stolen"},
		{"client-secret-chosen", "client secrets are drawn at random", "RFC 6819 section 5.1.4.2.2: what a person chose can be guessed"},
	}
}

func attackChecks() [][3]string {
	return [][3]string{
		{"attack-setup", "the issuer serves this database, and signs the guest in", "whatever follows would be about somebody else's server"},
		{"attack-parallel-refresh", "one refresh token shown eight times at once has one successor", "RFC 9700 section 4.14.2: rotation, without logging out an application with two tabs"},
		{"attack-refresh-reuse", "an old refresh token ends its session", "RFC 9700 section 4.14.2: a thief and the owner can not both go on"},
		{"attack-code-replay", "a code is redeemed once", "RFC 6749 section 4.1.2, RFC 9700 section 4.2"},
		{"attack-code-verifier", "a code without its verifier is worth nothing", "RFC 7636 section 4.6, RFC 9700 section 4.5"},
		{"attack-pkce-downgrade", "a request without an S256 challenge gets no code", "RFC 9700 section 4.8.2"},
		{"attack-redirect-uri", "a redirect URI that is nearly right leads nowhere", "RFC 9700 section 4.1 and 4.11"},
		{"attack-mix-up", "every answer names the issuer and brings the state back", "RFC 9207, RFC 9700 section 4.4"},
		{"attack-audience", "a token is of no use to another resource server", "RFC 9700 section 2.3, RFC 8707, RFC 7662 section 4"},
		{"attack-foreign-client", "a client can neither use nor end another's tokens", "RFC 6749 section 5.2, RFC 7009 section 2.1"},
		{"attack-revocation", "a revoked token is dead at once", "RFC 7009 section 2, RFC 7662 section 2.2"},
		{"attack-forged-token", "a token without its signature is refused", "RFC 8725 section 2.1 and 3.1"},
		{"attack-client-secret", "a client with a wrong secret is refused", "RFC 6749 section 2.3.1 and 5.2"},
		{"attack-forms", "a form from elsewhere signs nobody in", "RFC 6819 section 4.4.1.8: cross-site request forgery"},
		{"attack-cookies", "the cookie of a sign-in is out of reach for scripts and for http", "RFC 6265 section 4.1.2, RFC 9700 section 4.16"},
		{"attack-guessing", "guessing a password is slowed down", "RFC 6749 section 4.3.2 and 10.10"},
		{"attack-removal", "all that was made is removed", "what the doctor leaves behind is a way in"},
	}
}
