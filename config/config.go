// Package config is every setting of Grantor in one struct.
//
// A field of Config carries all there is to say about a setting: key, default,
// check, flag and the sentence that explains it. Load, the checks, the
// completion of names, `grantor config show` and docs/config.md are made from
// those tags, so a new setting is one new field.
//
// Load reads defaults, then the YAML file, then GRANTOR_… variables, then flags,
// and reports every fault at once, each with what to do about it. Whatever it
// accepts needs no second look elsewhere.
//
// cmd/grantor calls it; server and storage receive the resolved values. It never
// reads the environment or a file by itself: both are handed to it.
package config

import (
	"fmt"
	"reflect"
	"time"
)

// Config is the settings of one program run.
//
// Tags: key is the name in the file (a dot: the name of a group before it) and
// GRANTOR_<KEY> the variable; doc the
// sentence of the manual; check a range "a..b", a choice "a|b", or a named rule
// of check.go; flag the command line flag, where there is one.
type Config struct {
	Database Database `key:"database" default:"sqlite:grantor.db" check:"database" flag:"database" doc:"Where everything is kept: sqlite:PATH for one file, or a postgres:// URL (PostgreSQL 15 or later)."`
	Issuer   string   `key:"issuer" default:"" check:"issuer" flag:"issuer" doc:"The public URL of this server, exactly as clients are told it. https, or http on loopback; no query, fragment or trailing slash. Empty: http:// (https:// with a certificate) and the loopback address that is listened on."`
	Address  string   `key:"address" default:"127.0.0.1:8080" check:"address" flag:"address" doc:"HOST:PORT to listen on. Port 0 takes a free one. Beyond loopback an issuer must be set."`
	Secrets  Secret   `key:"secrets" default:"" check:"" doc:"Server secrets, separated by blanks, lines or commas: tokens are made with the first, all are read. To replace one with several replicas, add the new one last on every replica first; then move it to the front; remove the old one when its tokens have ended. At least 32 characters each. The same on every replica. Empty: one is generated at the first start into a file of mode 0600, beside the SQLite file or at ./grantor.secrets."`

	Connections int    `key:"connections" default:"10000" check:"1..1000000" doc:"Most connections of clients that are open at once. Beyond it the one that has waited longest without a request is closed for the new one; while all are in the middle of a request, new ones wait. Needs as many open files."`
	TLSCertFile string `key:"tls_cert_file" default:"" check:"" doc:"Path of a PEM file with the certificate to serve HTTPS with, its chain behind it; HTTP/2 comes with it. The files are looked at every minute and on SIGHUP; a pair that can not be used leaves the old one in place. Empty: HTTP, for a proxy in front or for loopback."`
	TLSKeyFile  string `key:"tls_key_file" default:"" check:"" doc:"Path of the PEM file with the key of that certificate."`

	AccessTokenLifetime  time.Duration `key:"access_token_lifetime" default:"10m" check:"1s..24h" doc:"How long an access token works, for clients that set nothing else."`
	RefreshTokenLifetime time.Duration `key:"refresh_token_lifetime" default:"336h" check:"1s..87600h" doc:"How long a session lives without renewal, for clients that set nothing else. Every renewal starts it again."`
	SessionLifetime      time.Duration `key:"session_lifetime" default:"2160h" check:"1s..87600h" doc:"How long a session lives at most, for clients that set nothing else. Nothing moves it."`
	RetryWindow          time.Duration `key:"retry_window" default:"10s" check:"0s..60s" doc:"How long the previous refresh token still gets the same answer, so that a lost answer or two racing tabs do not end a session. Later its use counts as theft and ends the session."`

	SignInLifetime time.Duration `key:"sign_in_lifetime" default:"168h" check:"1m..8760h" doc:"How long a browser stays signed in at this server, so that the next application needs no password. Ends with signing out."`

	DisplayName  string `key:"display_name" default:"Grantor" check:"name" doc:"What this server is called on the pages that people see: 1 to 60 characters."`
	DisplayLogo  string `key:"display_logo" default:"" check:"logo" doc:"Path of a picture for those pages: an .svg, .png, .jpg, .jpeg or .webp file of at most 64 KiB, read once at start. Empty: only the name."`
	DisplayColor string `key:"display_color" default:"#1a5fb4" check:"color" doc:"Colour of buttons and links on those pages, as #rrggbb. Text upon it becomes black or white, whichever is easier to read. Quote it in YAML, where # begins a comment."`

	TrustedProxies Networks `key:"trusted_proxies" default:"" check:"networks" doc:"Addresses or networks (10.0.0.7, 10.1.0.0/16, fd00::/8) of the proxies in front of this server, whose X-Forwarded-For is believed. It decides which address is slowed down after wrong passwords and which one people see beside their sign-ins. Empty: none, the address is that of the connection. Anybody inside can claim to be any address, so name the proxies only."`
	LogoutNetworks Networks `key:"logout_networks" default:"" check:"networks" doc:"Addresses or networks that are not public but that back-channel logout may be sent to, such as 10.2.0.0/16 for applications in the same data centre. Empty: public addresses only."`

	TelemetryAddress string `key:"telemetry.address" default:"" check:"listener" doc:"HOST:PORT where Prometheus finds /metrics, and nothing else is. It asks for no password: let only the monitoring reach it. Port 0 takes a free one, which the log tells. Empty: nothing listens, and requests are not counted."`

	LogFormat string `key:"log_format" default:"text" check:"json|text" doc:"Shape of the log on standard error: text or json."`
	LogLevel  string `key:"log_level" default:"info" check:"debug|info|warn|error" doc:"The least important line that is logged: debug, info, warn or error. No level logs a secret."`

	DatabaseTimeout     time.Duration `key:"database_timeout" default:"1500ms" check:"100ms..10s" doc:"Deadline of every statement. Beyond it a request is answered with 503."`
	DatabaseConnections int           `key:"database_connections" default:"16" check:"1..1000" doc:"Most PostgreSQL connections that one replica opens."`
	UnsafeDatabase      []string      `key:"unsafe_database" default:"" check:"fsync|synchronous_commit|full_page_writes" doc:"PostgreSQL settings that may be off although a power loss can then bring revoked tokens back: fsync, synchronous_commit, full_page_writes. Without their names here such a database is refused."`

	DrainTimeout         time.Duration `key:"drain_timeout" default:"10s" check:"0s..10m" doc:"How long a stop waits for requests in flight. In the first tenth of it /readyz already says no while requests are still taken, so that a load balancer notices."`
	HousekeepingInterval time.Duration `key:"housekeeping_interval" default:"1m" check:"1s..1h" doc:"How often ended sessions are looked for and deleted in small batches. One replica at a time does it, and looks at 50,000 sessions a minute."`
	AuditRetention       time.Duration `key:"audit_retention" default:"2160h" check:"0s..87600h" doc:"How long the events of the audit log are kept. 0: for ever."`

	PasswordMemory      int `key:"password_memory" default:"19456" check:"64..4194304" doc:"Memory of one argon2id hash, in KiB."`
	PasswordTime        int `key:"password_time" default:"2" check:"1..64" doc:"Passes of one argon2id hash."`
	PasswordThreads     int `key:"password_threads" default:"1" check:"1..64" doc:"Threads of one argon2id hash."`
	PasswordConcurrency int `key:"password_concurrency" default:"0" check:"0..1024" doc:"How many passwords are hashed at once. 0: as many as there are cores."`
	PasswordQueue       int `key:"password_queue" default:"0" check:"0..100000" doc:"How many sign-ins may wait to be hashed before the next is answered with 503. 0: 16 for each that is hashed at once."`

	origin map[string]string // where each key was set last; absent: its default
}

// Default is what holds when nothing is set.
func Default() Config {
	var c Config
	for _, f := range fields(&c) {
		// A default that does not decode is a mistake in a tag above; a test looks at each.
		_, _ = f.decode(f.fallback)
	}
	return c
}

// Origin says where a setting came from: a file, a variable, a flag; "" is its default.
func (c Config) Origin(key string) string { return c.origin[key] }

// Changed names the settings that have another value in next.
func (c Config) Changed(next Config) []string {
	var list []string
	after := fields(&next)
	for i, f := range fields(&c) {
		if !reflect.DeepEqual(f.value.Interface(), after[i].value.Interface()) {
			list = append(list, f.key)
		}
	}
	return list
}

// Warnings names every accepted value that can cost safety, a line each.
func (c Config) Warnings() []string {
	var list []string
	for _, name := range c.UnsafeDatabase {
		list = append(list, fmt.Sprintf("unsafe_database accepts %s=off: after a power loss revoked sessions and spent tokens can work again", name))
	}
	for _, open := range c.TrustedProxies.everything() {
		list = append(list, "trusted_proxies "+open+" believes everybody: anybody can claim to be any address and is never slowed down after wrong passwords")
	}
	for _, open := range c.LogoutNetworks.everything() {
		list = append(list, "logout_networks "+open+" lets whoever registers clients make this server send requests to every private address")
	}
	if c.PasswordMemory*c.PasswordTime < safePasswordWork {
		list = append(list, fmt.Sprintf("password_memory %d with password_time %d is weaker than 19456 with 2: stolen password hashes are cheaper to guess", c.PasswordMemory, c.PasswordTime))
	}
	return list
}

// safePasswordWork is the OWASP minimum of argon2id, as memory in KiB times passes;
// its other rows (12 MiB and 3, 9 MiB and 4, 7 MiB and 5) are about as much.
const safePasswordWork = 7168 * 5
