package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	// maxFile bounds a settings file and a file that holds one value.
	maxFile = 1 << 20
	// noDelimiter: keys are flat. It can not occur in a key, so that a dotted key of a file stays one unknown key.
	noDelimiter = "\x00"
)

// Sources is all that Load may look at.
type Sources struct {
	File     string // the settings file; "" = the one that GRANTOR_CONFIG names, or none
	ReadFile func(path string) ([]byte, error)
	Environ  []string       // NAME=value
	Flags    *pflag.FlagSet // made by AddFlags; nil = none
	Serving  bool           // the settings must be enough to serve, not only to reach the database
}

// AddFlags declares the flags of the named settings.
func AddFlags(flags *pflag.FlagSet, keys ...string) {
	var c Config
	for _, f := range fields(&c) {
		if !slices.Contains(keys, f.key) {
			continue
		}
		usage, _, _ := strings.Cut(f.doc, ". ")
		usage = strings.TrimSuffix(usage, ".")
		if f.fallback != "" {
			usage += " (default " + f.fallback + ")"
		}
		flags.String(f.flag, "", usage)
		// Only a flag that was declared just now can be missing.
		_ = flags.SetAnnotation(f.flag, isSetting, []string{f.key})
	}
}

// isSetting marks the flags of AddFlags: a verb may have another of the same name.
const isSetting = "grantor_setting"

// Load resolves the settings. The error, if any, is Faults: all of them at once.
// The Config is then what could be read, fit only for being shown.
func Load(s Sources) (Config, error) {
	l := loader{Sources: s, merged: koanf.New(noDelimiter), config: Config{origin: map[string]string{}}}
	l.readDefaults()
	l.readFile()
	l.readEnviron()
	l.readFlags()
	l.decode()
	if len(l.faults) > 0 {
		return l.config, l.faults
	}
	return l.config, nil
}

type loader struct {
	Sources
	merged *koanf.Koanf
	config Config
	faults Faults
}

func (l *loader) fault(setting, origin, problem, hint string) {
	l.faults = append(l.faults, Fault{Setting: setting, Origin: origin, Problem: problem, Hint: hint})
}

// merge lays one source over those before it.
func (l *loader) merge(source string, p koanf.Provider, name func(key string) string) {
	layer := koanf.New(noDelimiter)
	if err := layer.Load(p, nil); err != nil {
		l.fault(source, "", "can not be read: "+err.Error(), "please report this")
		return
	}
	for key := range layer.Raw() {
		l.config.origin[key] = name(key)
	}
	if err := l.merged.Merge(layer); err != nil {
		l.fault(source, "", "can not be merged: "+err.Error(), "please report this")
	}
}

func (l *loader) readDefaults() {
	values := map[string]any{}
	for _, f := range fields(&l.config) {
		values[f.key] = f.fallback
	}
	l.merge("defaults", confmap.Provider(values, noDelimiter), func(string) string { return "" })
	clear(l.config.origin)
}

func (l *loader) readFile() {
	if l.File == "" {
		l.File = l.variable(FileVariable)
	}
	if l.File == "" {
		return
	}
	data, problem, todo := l.read(l.File)
	if problem != "" {
		l.fault(l.File, "", problem, todo)
		return
	}
	values, err := yaml.Parser().Unmarshal(data)
	if err != nil {
		l.fault(l.File, "", "is not a settings file: "+yamlProblem(err), "write one `key: value` to a line; `grantor config docs` lists the keys")
		return
	}
	known := l.keys()
	l.ungroup(values, known)
	for _, key := range sorted(values) {
		if slices.Contains(known, key) {
			continue
		}
		l.fault(fmt.Sprintf("%q", key), l.File, "is not a setting", hintNear(suggest(key, known)))
		delete(values, key)
	}
	l.merge(l.File, confmap.Provider(values, noDelimiter), func(string) string { return l.File })
}

// ungroup makes {telemetry: {address: …}} what it means, telemetry.address.
func (l *loader) ungroup(values map[string]any, known []string) {
	for _, name := range sorted(values) {
		group, ok := values[name].(map[string]any)
		if !ok || !slices.ContainsFunc(known, func(key string) bool { return strings.HasPrefix(key, name+".") }) {
			continue
		}
		delete(values, name)
		for key, value := range group {
			whole := name + "." + key
			if _, twice := values[whole]; twice {
				l.fault(fmt.Sprintf("%q", whole), l.File, "is there twice", "remove one of them")
				continue
			}
			values[whole] = value
		}
	}
}

func (l *loader) readFlags() {
	if l.Flags == nil {
		return
	}
	names := map[string]string{}
	provider := posflag.ProviderWithFlag(l.Flags, noDelimiter, nil, func(f *pflag.Flag) (string, any) {
		if len(f.Annotations[isSetting]) == 0 {
			return "", nil
		}
		key := f.Annotations[isSetting][0]
		names[key] = "--" + f.Name
		return key, posflag.FlagVal(l.Flags, f)
	})
	l.merge("flags", provider, func(key string) string { return names[key] })
}

func (l *loader) decode() {
	good := map[string]bool{}
	for _, f := range fields(&l.config) {
		origin := l.config.origin[f.key]
		if problem, todo := f.decode(l.merged.Get(f.key)); problem != "" {
			l.fault(f.key, origin, problem, todo)
			continue
		}
		problem, todo := f.verify()
		if problem != "" {
			l.fault(f.key, origin, f.quote()+" "+problem, todo)
			continue
		}
		good[f.key] = true
	}
	l.relate(good)
}

// relate checks settings against each other, where each is good by itself.
func (l *loader) relate(good map[string]bool) {
	c := l.config
	if l.Serving && good["issuer"] && good["address"] && c.Issuer == "" && !loopbackAddress(c.Address) {
		l.fault("issuer", "", "is not set, and address "+fmt.Sprintf("%q", c.Address)+" is not on loopback", "set issuer (GRANTOR_ISSUER, --issuer) to the https URL that clients use")
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		given, missing := "tls_cert_file", "tls_key_file"
		if c.TLSCertFile == "" {
			given, missing = missing, given
		}
		l.fault(given, c.origin[given], "is set without "+missing, "set both to serve HTTPS, or none to serve HTTP")
	} else if c.TLSCertFile != "" && good["issuer"] && strings.HasPrefix(c.Issuer, "http:") {
		l.fault("issuer", c.origin["issuer"], fmt.Sprintf("%q", c.Issuer)+" is http, but with tls_cert_file this server speaks https only", "write https://"+strings.TrimPrefix(c.Issuer, "http://")+", or remove tls_cert_file and tls_key_file")
	}
	if good["telemetry.address"] && c.TelemetryAddress == c.Address && !strings.HasSuffix(c.Address, ":0") {
		l.fault("telemetry.address", c.origin["telemetry.address"], fmt.Sprintf("%q", c.TelemetryAddress)+" is where everybody is served", "choose another port, which only the monitoring reaches")
	}
	if good["refresh_token_lifetime"] && good["session_lifetime"] && c.RefreshTokenLifetime > c.SessionLifetime {
		l.fault("refresh_token_lifetime", c.origin["refresh_token_lifetime"],
			shortDuration(c.RefreshTokenLifetime)+" is longer than session_lifetime "+shortDuration(c.SessionLifetime), "make session_lifetime at least as long")
	}
	if good["password_memory"] && good["password_threads"] && c.PasswordMemory < 8*c.PasswordThreads {
		l.fault("password_memory", c.origin["password_memory"],
			fmt.Sprintf("%d is less than argon2id needs for %d threads", c.PasswordMemory, c.PasswordThreads), fmt.Sprintf("set it to %d or more", 8*c.PasswordThreads))
	}
}

func (l *loader) read(path string) (data []byte, problem, todo string) {
	data, err := l.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "does not exist", "check the path"
	case errors.Is(err, fs.ErrPermission):
		return nil, "may not be read", "let the user that runs grantor read it"
	case err != nil:
		return nil, "can not be read: " + oneLine(err), "check the path"
	case len(data) > maxFile:
		return nil, "is larger than 1 MiB", "check the path"
	}
	return data, "", ""
}

func (l *loader) keys() []string {
	var list []string
	for _, f := range fields(&l.config) {
		list = append(list, f.key)
	}
	return list
}

func hintNear(near string) string {
	if near == "" {
		return "`grantor config docs` lists all settings"
	}
	return "did you mean " + near + "?"
}

// yamlProblem drops what the parser quotes from the file, which may be a secret.
func yamlProblem(err error) string {
	if strings.Contains(err.Error(), "cannot unmarshal") {
		return "it is not a list of keys and values"
	}
	return oneLine(err)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func sorted(values map[string]any) []string {
	var list []string
	for key := range values {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}
