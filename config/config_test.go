package config_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
)

// files stands in for the disk.
func files(content map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if text, ok := content[path]; ok {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("open %s: %w", path, fs.ErrNotExist)
	}
}

// faults loads and wants it refused.
func faults(t *testing.T, s config.Sources) config.Faults {
	t.Helper()
	if s.ReadFile == nil {
		s.ReadFile = files(nil)
	}
	_, err := config.Load(s)
	var list config.Faults
	require.ErrorAs(t, err, &list)
	for _, f := range list {
		require.NotEmpty(t, f.Hint, "a fault must say what to do: %v", f)
		require.NotContains(t, f.Error(), "\n", "a fault is one line")
		require.NotContains(t, f.Hint, "\n", "a hint is one line")
	}
	return list
}

func load(t *testing.T, s config.Sources) config.Config {
	t.Helper()
	if s.ReadFile == nil {
		s.ReadFile = files(nil)
	}
	c, err := config.Load(s)
	require.NoError(t, err)
	return c
}

func flagSet(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(set, "database", "issuer", "address")
	require.NoError(t, set.Parse(args))
	return set
}

func TestEveryFieldSaysAllThatThereIsToSay(t *testing.T) {
	typ := reflect.TypeFor[config.Config]()
	for i := range typ.NumField() {
		field := typ.Field(i)
		if !field.IsExported() {
			continue
		}
		require.NotEmpty(t, field.Tag.Get("key"), field.Name)
		require.NotEmpty(t, field.Tag.Get("doc"), field.Name)
		_, ok := field.Tag.Lookup("default")
		require.True(t, ok, "%s has no default", field.Name)
		_, ok = field.Tag.Lookup("check")
		require.True(t, ok, "%s has no check", field.Name)
	}
}

func TestDefaultsPassTheirOwnChecks(t *testing.T) {
	c := load(t, config.Sources{Serving: true})
	require.Equal(t, config.Database("sqlite:grantor.db"), c.Database)
	require.Equal(t, "127.0.0.1:8080", c.Address)
	require.Empty(t, c.Issuer)
	require.Empty(t, c.Secrets.Reveal())
	require.Equal(t, 10*time.Minute, c.AccessTokenLifetime)
	require.Equal(t, 14*24*time.Hour, c.RefreshTokenLifetime)
	require.Equal(t, 90*24*time.Hour, c.SessionLifetime)
	require.Equal(t, 10*time.Second, c.RetryWindow)
	require.Equal(t, 1500*time.Millisecond, c.DatabaseTimeout)
	require.Equal(t, 19456, c.PasswordMemory)
	require.Empty(t, c.UnsafeDatabase)
	require.Equal(t, "Grantor", c.DisplayName)
	require.Empty(t, c.DisplayLogo)
	require.Equal(t, "#1a5fb4", c.DisplayColor)
	require.Equal(t, 7*24*time.Hour, c.SignInLifetime)
	require.Empty(t, c.TrustedProxies)
	require.Empty(t, c.LogoutNetworks)
	require.Empty(t, c.Warnings())

	d := config.Default()
	require.Equal(t, c.Address, d.Address)
	require.Equal(t, c.SessionLifetime, d.SessionLifetime)
}

func TestLaterSourcesWin(t *testing.T) {
	read := files(map[string]string{
		"g.yaml":  "database: sqlite:file.db\naddress: 127.0.0.1:1\nlog_level: warn\nretry_window: 5s\nunsafe_database: [fsync]\npassword_time: 3\n",
		"/run/rw": "7s\n",
	})
	c := load(t, config.Sources{
		File: "g.yaml", ReadFile: read,
		Environ: []string{"GRANTOR_ADDRESS=127.0.0.1:2", "GRANTOR_LOG_LEVEL=error", "GRANTOR_RETRY_WINDOW_FILE=/run/rw", "PATH=/bin", "GRANTOR_PASSWORD_THREADS=2"},
		Flags:   flagSet(t, "--address", "127.0.0.1:3"),
	})
	require.Equal(t, "127.0.0.1:3", c.Address, "a flag beats a variable")
	require.Equal(t, "error", c.LogLevel, "a variable beats the file")
	require.Equal(t, 7*time.Second, c.RetryWindow, "a …_FILE variable is a variable")
	require.Equal(t, "sqlite:file.db", string(c.Database), "the file beats the default; a flag that was not given beats nothing")
	require.Equal(t, []string{"fsync"}, c.UnsafeDatabase)
	require.Equal(t, 3, c.PasswordTime)
	require.Equal(t, 2, c.PasswordThreads)
}

func TestAFlagOfTheSameNameIsNoSetting(t *testing.T) {
	other := pflag.NewFlagSet("verb", pflag.ContinueOnError)
	config.AddFlags(other, "database")
	other.String("address", "", "of somebody else")
	require.NoError(t, other.Parse([]string{"--address", "192.0.2.7", "--database", "sqlite:flag.db"}))
	c := load(t, config.Sources{Flags: other})
	require.Equal(t, "127.0.0.1:8080", c.Address)
	require.Empty(t, c.Origin("address"))
	require.Equal(t, "sqlite:flag.db", string(c.Database))
	require.Equal(t, "--database", c.Origin("database"))
}

func TestHalfACertificateIsRefused(t *testing.T) {
	for given, missing := range map[string]string{"tls_cert_file": "tls_key_file", "tls_key_file": "tls_cert_file"} {
		list := faults(t, config.Sources{Environ: []string{"GRANTOR_" + strings.ToUpper(given) + "=x.pem"}})
		require.Len(t, list, 1)
		require.Equal(t, given, list[0].Setting)
		require.Equal(t, "is set without "+missing, list[0].Problem)
	}
	both := []string{"GRANTOR_TLS_CERT_FILE=c.pem", "GRANTOR_TLS_KEY_FILE=k.pem"}
	c := load(t, config.Sources{Environ: append(both, "GRANTOR_ISSUER=https://127.0.0.1:8080"), Serving: true})
	require.Equal(t, "c.pem", c.TLSCertFile, "the path itself, not what the file holds")
	list := faults(t, config.Sources{Environ: append(both, "GRANTOR_ISSUER=http://127.0.0.1:8080"), Serving: true})
	require.Len(t, list, 1)
	require.Equal(t, "issuer", list[0].Setting)
	require.Contains(t, list[0].Hint, "https://127.0.0.1:8080")
}

func TestChangedNamesWhatDiffers(t *testing.T) {
	a := load(t, config.Sources{Environ: []string{"GRANTOR_TRUSTED_PROXIES=10.0.0.1", "GRANTOR_LOG_LEVEL=info"}})
	require.Empty(t, a.Changed(a))
	b := load(t, config.Sources{Environ: []string{"GRANTOR_TRUSTED_PROXIES=10.0.0.2", "GRANTOR_RETRY_WINDOW=10s", "GRANTOR_SECRETS=" + strings.Repeat("a", 32)}})
	require.Equal(t, []string{"secrets", "trusted_proxies"}, a.Changed(b))
}

func TestTheFileMayBeNamedByAVariable(t *testing.T) {
	read := files(map[string]string{"a.yaml": "log_level: warn", "b.yaml": "log_level: debug"})
	c := load(t, config.Sources{ReadFile: read, Environ: []string{"GRANTOR_CONFIG=a.yaml"}})
	require.Equal(t, "warn", c.LogLevel)
	c = load(t, config.Sources{File: "b.yaml", ReadFile: read, Environ: []string{"GRANTOR_CONFIG=a.yaml"}})
	require.Equal(t, "debug", c.LogLevel)
}

func TestListsOfSecrets(t *testing.T) {
	one, two := strings.Repeat("a", 32), strings.Repeat("b", 32)
	for name, s := range map[string]config.Sources{
		"a list":           {File: "f", ReadFile: files(map[string]string{"f": "secrets: [" + one + ", " + two + "]"})},
		"a text":           {File: "f", ReadFile: files(map[string]string{"f": "secrets: '" + one + " " + two + "'"})},
		"a variable":       {Environ: []string{"GRANTOR_SECRETS=" + one + "," + two}},
		"a file of lines":  {Environ: []string{"GRANTOR_SECRETS_FILE=f"}, ReadFile: files(map[string]string{"f": one + "\n" + two + "\n"})},
		"with line ending": {Environ: []string{"GRANTOR_SECRETS_FILE=f"}, ReadFile: files(map[string]string{"f": one + "\r\n" + two + "\r\n"})},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, one+"\n"+two, load(t, s).Secrets.Reveal())
		})
	}
}

func TestFaultsOfSources(t *testing.T) {
	read := files(map[string]string{
		"typo.yaml": "databse: sqlite:x\n", "strange.yaml": "zzzzzzzzzz: 1\n", "dotted.yaml": "telephone:\n  address: x\n",
		"list.yaml": "- a\n- b\n", "broken.yaml": "a: b: c\n", "twice.yaml": "issuer: https://a.example\nissuer: https://b.example\n",
		"secret.yaml": "hunter2hunter2hunter2hunter2hunter2", "null.yaml": "issuer:\n", "colour.yaml": "display_color: #1a5fb4\n", "networks.yaml": "trusted_proxies: [10.0.0.7, 5]\nlogout_networks: {a: b}\n", "types.yaml": "issuer: 5\npassword_time: many\nretry_window: 10\nunsafe_database: [1]\nsecrets: 12\n",
		"key": "sqlite:other.db\n", "big": strings.Repeat("a", 1<<20+1), "deep.yaml": "database: {url: x}\n",
	})
	for _, row := range []struct {
		name    string
		file    string
		environ []string
		want    []string // in the order of the faults: a part of the line and of its hint
	}{
		{"key with a near name", "typo.yaml", nil, []string{`"databse" (typo.yaml) is not a setting`, "did you mean database?"}},
		{"key like nothing", "strange.yaml", nil, []string{`"zzzzzzzzzz" (strange.yaml) is not a setting`, "config docs"}},
		{"nested key", "dotted.yaml", nil, []string{`"telephone" (dotted.yaml) is not a setting`, "config docs"}},
		{"mapping for a text", "deep.yaml", nil, []string{"database (deep.yaml) is not text", "in quotes"}},
		{"no such file", "none.yaml", nil, []string{"none.yaml does not exist", "path"}},
		{"a list", "list.yaml", nil, []string{"list.yaml is not a settings file", "key: value"}},
		{"not YAML", "broken.yaml", nil, []string{"broken.yaml is not a settings file", "key: value"}},
		{"a key twice", "twice.yaml", nil, []string{`mapping key "issuer" already defined`, "key: value"}},
		{"too large", "big", nil, []string{"larger than 1 MiB", "path"}},
		{"no value", "null.yaml", nil, []string{"issuer (null.yaml) has no value", "remove the line"}},
		{"wrong types", "types.yaml", nil, []string{
			"issuer (types.yaml) is not text", "quotes",
			"secrets (types.yaml) is not text or a list", "quotes",
			"retry_window (types.yaml) is not a span of time", "10m",
			"unsafe_database (types.yaml) is not a list of words", "[fsync, ",
			"password_time (types.yaml) is not a whole number", "digits",
		}},
		{"a colour without quotes", "colour.yaml", nil, []string{"display_color (colour.yaml) has no value", "give it one"}},
		{"networks of another type", "networks.yaml", nil, []string{
			"trusted_proxies (networks.yaml) is not a list of addresses", "[10.0.0.7, 10.1.0.0/16]",
			"logout_networks (networks.yaml) is not a list of addresses", "logout_networks: [",
		}},
		{"a network with more digits", "", []string{"GRANTOR_TRUSTED_PROXIES=10.1.2.3/16"}, []string{`trusted_proxies (GRANTOR_TRUSTED_PROXIES) "10.1.2.3/16" has more digits than its length covers`, "write 10.1.0.0/16"}},
		{"variable with a near name", "", []string{"GRANTOR_ISSUR=https://x.example"}, []string{"GRANTOR_ISSUR is not a setting", "did you mean GRANTOR_ISSUER?"}},
		{"variable and its file", "", []string{"GRANTOR_DATABASE=sqlite:a", "GRANTOR_DATABASE_FILE=key"}, []string{"GRANTOR_DATABASE_FILE and GRANTOR_DATABASE are both set", "unset"}},
		{"file variable without a file", "", []string{"GRANTOR_SECRETS_FILE=/nowhere"}, []string{"/nowhere (GRANTOR_SECRETS_FILE) does not exist", "path"}},
		{"empty variable", "", []string{"GRANTOR_SECRETS="}, []string{"GRANTOR_SECRETS is set but empty", "unset"}},
		{"unknown file variable", "", []string{"GRANTOR_NOPE_FILE=key"}, []string{"GRANTOR_NOPE_FILE is not a setting", "?"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			list := faults(t, config.Sources{File: row.file, ReadFile: read, Environ: row.environ})
			require.Len(t, list, len(row.want)/2, "%v", list)
			for i, f := range list {
				require.Contains(t, f.Error(), row.want[2*i])
				if row.name != "unknown file variable" {
					require.Contains(t, f.Hint, row.want[2*i+1])
				}
			}
		})
	}

	t.Run("a file of one secret is not quoted back", func(t *testing.T) {
		require.NotContains(t, faults(t, config.Sources{File: "secret.yaml", ReadFile: read}).Error(), "hunter2")
	})
}

func TestAllFaultsAtOnce(t *testing.T) {
	list := faults(t, config.Sources{
		File:     "g.yaml",
		ReadFile: files(map[string]string{"g.yaml": "adress: x\nlog_level: loud\nretry_window: 2m\nrefresh_token_lifetime: 48h\nsession_lifetime: 24h\n"}),
		Environ:  []string{"GRANTOR_ISUER=x", "GRANTOR_DATABASE=mysql://root@h/db"},
		Flags:    flagSet(t, "--issuer", "http://auth.example.com"),
	})
	require.Len(t, list, 7, "%v", list)
	text := list.Error()
	for _, want := range []string{"adress", "GRANTOR_ISUER", "database (GRANTOR_DATABASE)", "issuer (--issuer)", "log_level (g.yaml)", "retry_window (g.yaml)", "refresh_token_lifetime (g.yaml)"} {
		require.Contains(t, text, want)
	}
}

func TestVariablesOfOthersArePassedOver(t *testing.T) {
	load(t, config.Sources{Environ: []string{
		"GRANTOR_PORT=tcp://10.0.0.1:8080", "GRANTOR_SERVICE_HOST=10.0.0.1", "GRANTOR_SERVICE_PORT=8080", "GRANTOR_SERVICE_PORT_HTTP=8080",
		"GRANTOR_PORT_8080_TCP=tcp://10.0.0.1:8080", "GRANTOR_PORT_8080_TCP_PROTO=tcp", "GRANTOR_PORT_8080_TCP_PORT=8080", "GRANTOR_PORT_8080_TCP_ADDR=10.0.0.1",
		"GRANTOR_DB_SERVICE_HOST=10.0.0.2", "GRANTOR_DB_PORT=tcp://10.0.0.2:5432", "GRANTOR_TEST_POSTGRES=1", "HOME=/", "broken",
	}})
	require.Len(t, faults(t, config.Sources{Environ: []string{"GRANTOR_PORT=8080"}}), 1, "somebody who sets a port by hand must hear that it does nothing")
}

func TestServingNeedsAnIssuerBeyondLoopback(t *testing.T) {
	open := []string{"GRANTOR_ADDRESS=0.0.0.0:8080"}
	list := faults(t, config.Sources{Environ: open, Serving: true})
	require.Len(t, list, 1)
	require.Contains(t, list[0].Error(), `issuer is not set, and address "0.0.0.0:8080" is not on loopback`)

	load(t, config.Sources{Environ: open}) // a command that does not serve needs none
	load(t, config.Sources{Environ: append(open, "GRANTOR_ISSUER=https://auth.example.com"), Serving: true})
	for _, address := range []string{"127.0.0.1:0", "127.5.0.1:1", "[::1]:8080", "localhost:8080"} {
		require.True(t, load(t, config.Sources{Environ: []string{"GRANTOR_ADDRESS=" + address}, Serving: true}).Loopback(), address)
	}
	require.False(t, load(t, config.Sources{Environ: []string{"GRANTOR_ISSUER=https://auth.example.com"}}).Loopback())
	require.False(t, load(t, config.Sources{Environ: open}).Loopback())
}

func TestChecks(t *testing.T) {
	for key, values := range map[string]struct{ good, bad []string }{
		"ISSUER": {
			good: []string{"https://auth.example.com", "https://auth.example.com:8443", "https://example.com/auth", "http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost", "http://127.9.9.9"},
			bad: []string{
				"auth.example.com", "https://", "https:auth.example.com", "ftp://auth.example.com", "http://auth.example.com", "http://10.0.0.1", "http://127.0.0.1.example.com", "http://localhost.example.com",
				"https://auth.example.com/", "https://auth.example.com/x/", "https://auth.example.com?x=1", "https://auth.example.com?", "https://auth.example.com#x", "https://auth.example.com#",
				"https://user@auth.example.com", "https://user:password@auth.example.com", "https://Auth.example.com", "HTTPS://auth.example.com", "https://auth.example.com/a/../b", "https://auth.example.com//b", "https://auth.example.com/%61", "https://auth.example.com/a;b", "https://auth.example.com/$x", "https://auth.example.com/ä",
				"https://auth.example.com:0", "https://auth.example.com:99999", "https://auth.example.com:x", "https://auth example.com", "https://auth.example.com\nx", "https://auth.example.com/\x00", "https://[::1", "https://:8080",
			},
		},
		"DATABASE": {
			good: []string{"sqlite:grantor.db", "sqlite:/var/lib/grantor.db", "sqlite:../x", "postgres://h/db", "postgresql://u:p@h:5432/db?sslmode=disable", "postgres:///db?host=/run/postgresql", "postgres://u:p@a:1,b:2/db"},
			bad:  []string{"grantor.db", "sqlite:", "sqlite://grantor.db", "sqlite::memory:", "sqlite:file::memory:?cache=shared", "sqlite:a.db?_pragma=synchronous(OFF)", "sqlite:dir/", "postgres://", "postgres://u:100%@h/db", "mysql://h/db", "Postgres://h", "sqlite:a\nb", "file:x"},
		},
		"ADDRESS": {
			good: []string{"127.0.0.1:0", "[::1]:65535", "localhost:80", "127.0.0.1:8080"},
			bad:  []string{"8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1", "::1:80", "127.0.0.1:080", "http://127.0.0.1:80", "a b:80"},
		},
		"ACCESS_TOKEN_LIFETIME": {good: []string{"1s", "24h", " 10m "}, bad: []string{"0s", "24h1s", "-1m", "10", "1d", "soon"}},
		"RETRY_WINDOW":          {good: []string{"0s", "60s"}, bad: []string{"61s", "-1s"}},
		"DATABASE_TIMEOUT":      {good: []string{"100ms", "10s"}, bad: []string{"99ms", "11s"}},
		"SIGN_IN_LIFETIME":      {good: []string{"1m", "8760h"}, bad: []string{"59s", "8761h", "0s"}},
		"DISPLAY_NAME": {
			good: []string{"Grantor", "Anmeldung der Stadt Köln", "<b>Shop</b> & Sons", strings.Repeat("ä", 60)},
			bad:  []string{" ", " Grantor", "Grantor\t", strings.Repeat("ä", 61), "a\nb", "a\x1b[2J", "a\u202eb", "a\u2028b", "a\xff"},
		},
		"DISPLAY_LOGO": {
			good: []string{"logo.svg", "/etc/grantor/Logo.PNG", "a b.jpg", "x.jpeg", "x.webp"},
			bad:  []string{"logo", "logo.gif", "logo.svg.html", "https://cdn.example/logo", "png", "logo.png/"},
		},
		"DISPLAY_COLOR": {
			good: []string{"#1a5fb4", "#FFFFFF", "#000000"},
			bad:  []string{"1a5fb4", "#fff", "#1a5fb4ff", "#1a5fbg", "blue", "#1a5fb4;}", "rgb(0,0,0)", "#ääää"},
		},
		"TRUSTED_PROXIES": {
			good: []string{"10.0.0.7", "10.0.0.7,10.1.0.0/16 fd00::/8", "::1", "0.0.0.0/0", "::ffff:10.0.0.1"},
			bad:  []string{"10.0.0.7/8", "proxy.example", "10.0.0", "10.0.0.0/33", "010.0.0.1", "fe80::1%eth0", "fe80::%eth0/64", "::ffff:10.0.0.0/104", "10.0.0.1:80", "10.1.0.0/016", "fd00::1/8", "*"},
		},
		"LOGOUT_NETWORKS":        {good: []string{"10.2.0.0/16", "127.0.0.1"}, bad: []string{"private", "10.2.0.1/16"}},
		"LOG_FORMAT":             {good: []string{"json", "text"}, bad: []string{"JSON", "xml"}},
		"LOG_LEVEL":              {good: []string{"debug", "error"}, bad: []string{"trace"}},
		"UNSAFE_DATABASE":        {good: []string{"fsync", "fsync,synchronous_commit", "fsync full_page_writes"}, bad: []string{"everything", "fsync,all"}},
		"DATABASE_CONNECTIONS":   {good: []string{"1", "1000"}, bad: []string{"0", "-1", "1001", "1.5", "many", "99999999999999999999"}},
		"PASSWORD_MEMORY":        {good: []string{"64", "65536"}, bad: []string{"8", "4194305"}},
		"SESSION_LIFETIME":       {good: []string{"336h", "87600h"}, bad: []string{"87601h", "335h", "2562048h"}},
		"REFRESH_TOKEN_LIFETIME": {good: []string{"1s", "2160h"}, bad: []string{"2161h", "0s"}},
	} {
		name := "GRANTOR_" + key
		for _, v := range values.good {
			t.Run(key+"="+v, func(t *testing.T) { load(t, config.Sources{Environ: []string{name + "=" + v}}) })
		}
		for _, v := range values.bad {
			t.Run("not "+key+"="+v, func(t *testing.T) {
				list := faults(t, config.Sources{Environ: []string{name + "=" + v}})
				require.Len(t, list, 1, "%v", list)
			})
		}
	}
}

func TestLongValuesDoNotFillTheScreen(t *testing.T) {
	list := faults(t, config.Sources{Environ: []string{"GRANTOR_ISSUER=" + strings.Repeat("x", 100_000), "GRANTOR_LOG_LEVEL=" + strings.Repeat("y", 100_000)}})
	require.Less(t, len(list.Error()), 2000)
}

func TestDangerousValuesAreNamed(t *testing.T) {
	c := load(t, config.Sources{Environ: []string{"GRANTOR_UNSAFE_DATABASE=fsync,synchronous_commit", "GRANTOR_PASSWORD_MEMORY=64", "GRANTOR_PASSWORD_TIME=1", "GRANTOR_TRUSTED_PROXIES=10.0.0.0/8 ::/0", "GRANTOR_LOGOUT_NETWORKS=0.0.0.0/0"}})
	require.Len(t, c.Warnings(), 5)
	require.Contains(t, c.Warnings()[0], "fsync=off")
	require.Contains(t, c.Warnings()[1], "synchronous_commit=off")
	require.Contains(t, c.Warnings()[2], "trusted_proxies ::/0")
	require.Contains(t, c.Warnings()[3], "logout_networks 0.0.0.0/0")
	require.Contains(t, c.Warnings()[4], "password_memory")
}

func TestSecretsNeverPrint(t *testing.T) {
	const secret = "correct-horse-battery-staple-0123456789"
	const password = "p@ss/w:rd"
	for _, url := range []string{
		"postgres://grantor:" + password + "@db:5432/grantor?sslmode=disable", "postgres://db/grantor?user=x&password=" + password, "postgresql://grantor:" + password + "@db:1,b:2/grantor",
		"postgres://db/grantor?sslpassword=" + password + "&sslmode=disable",
	} {
		c := load(t, config.Sources{Environ: []string{"GRANTOR_SECRETS=" + secret, "GRANTOR_DATABASE=" + url}})
		require.Equal(t, url, string(c.Database))
		require.Equal(t, secret, c.Secrets.Reveal())

		var seen strings.Builder
		require.NoError(t, c.Show(&seen))
		data, err := json.Marshal(c)
		require.NoError(t, err)
		seen.Write(data)
		text, err := c.Secrets.MarshalText()
		require.NoError(t, err)
		seen.Write(text)
		fmt.Fprintf(&seen, "%v %+v %#v", c, c, c)
		fmt.Fprintf(&seen, "%s %v %q %#v %X %x", c.Secrets, c.Secrets, c.Secrets, c.Secrets, c.Secrets, c.Secrets)
		fmt.Fprintf(&seen, "%s %v %q %#v %X %x", c.Database, c.Database, c.Database, c.Database, c.Database, c.Database)
		slog.New(slog.NewJSONHandler(&seen, nil)).Info("start", "config", c, "secrets", c.Secrets, "database", c.Database)
		slog.New(slog.NewTextHandler(&seen, nil)).Info("start", "config", c, "secrets", c.Secrets, "database", c.Database)

		require.NotContains(t, seen.String(), secret)
		require.NotContains(t, seen.String(), fmt.Sprintf("%x", secret))
		require.NotContains(t, seen.String(), password)
		require.NotContains(t, seen.String(), fmt.Sprintf("%x", password))
		require.Contains(t, seen.String(), "***")
		require.Contains(t, seen.String(), "db")
	}
}

func TestShowCanBeReadBack(t *testing.T) {
	c := load(t, config.Sources{Environ: []string{"GRANTOR_DATABASE=postgres://h/db?a=b&c=d", "GRANTOR_UNSAFE_DATABASE=fsync", "GRANTOR_RETRY_WINDOW=1m", "GRANTOR_TRUSTED_PROXIES=10.0.0.7 fd00::/8", "GRANTOR_DISPLAY_NAME=Shop # 1"}, Flags: flagSet(t, "--address=[::1]:1")})
	var text strings.Builder
	require.NoError(t, c.Show(&text))
	require.Regexp(t, `(?m)^address: "\[::1\]:1" +# --address$`, text.String())
	require.Regexp(t, `(?m)^retry_window: "1m" +# GRANTOR_RETRY_WINDOW$`, text.String())
	require.Regexp(t, `(?m)^session_lifetime: "2160h" +# default$`, text.String())
	require.Contains(t, text.String(), `"postgres://h/db?a=b&c=d"`)

	again := load(t, config.Sources{File: "f", ReadFile: files(map[string]string{"f": text.String()})})
	require.Equal(t, c.Database, again.Database)
	require.Equal(t, c.UnsafeDatabase, again.UnsafeDatabase)
	require.Equal(t, c.RetryWindow, again.RetryWindow)
	require.Equal(t, c.TrustedProxies, again.TrustedProxies)
	require.Empty(t, again.LogoutNetworks)
	require.Equal(t, "Shop # 1", again.DisplayName)
	require.Equal(t, "#1a5fb4", again.DisplayColor)
	require.Equal(t, c.Address, again.Address)
}

func TestCompanionFilesOfTheDatabase(t *testing.T) {
	require.Equal(t, "/var/lib/g.db.secrets", config.Database("sqlite:/var/lib/g.db").Beside(".secrets"))
	require.Equal(t, "./grantor.secrets", config.Database("postgres://h/db").Beside(".secrets"))
}

func TestTheManualIsUpToDate(t *testing.T) {
	var want strings.Builder
	require.NoError(t, config.Manual(&want))
	have, err := os.ReadFile("../docs/config.md")
	require.NoError(t, err)
	require.Equal(t, want.String(), string(have), "write it again: go run ./cmd/grantor config docs > docs/config.md")
}

// A file may write a group as YAML does; the variable has no dot.
func TestGroupsOfSettings(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"telemetry:\n  address: 127.0.0.1:9464\n", "telemetry.address: 127.0.0.1:9464\n"} {
		c := load(t, config.Sources{File: "f", ReadFile: files(map[string]string{"f": text})})
		require.Equal(t, "127.0.0.1:9464", c.TelemetryAddress)
		require.Equal(t, "f", c.Origin("telemetry.address"))
	}
	require.Equal(t, ":9464", load(t, config.Sources{Environ: []string{"GRANTOR_TELEMETRY_ADDRESS=:9464"}}).TelemetryAddress)
	require.Empty(t, load(t, config.Sources{}).TelemetryAddress, "off")

	for text, want := range map[string]string{
		"telemetry: {adress: x}\n":                                            "telemetry.adress",
		"telemetry: {address: nowhere}\n":                                     "is not HOST:PORT",
		"telemetry: {address: ':1'}\ntelemetry.address: ':2'\n":               "is there twice",
		"telemetry: 9464\n":                                                   "is not a setting",
		"address: ':1'\nissuer: https://a.test\ntelemetry: {address: ':1'}\n": "is where everybody is served",
	} {
		list := faults(t, config.Sources{File: "f", ReadFile: files(map[string]string{"f": text})})
		require.Len(t, list, 1, text)
		require.Contains(t, list[0].Error(), want)
	}
}
