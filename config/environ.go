package config

import (
	"regexp"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
)

const (
	prefix = "GRANTOR_"
	// FileVariable names the settings file where no --config flag does.
	FileVariable = prefix + "CONFIG"
	// testPrefix is read by the project's own tests only.
	testPrefix = prefix + "TEST_"
)

func (l *loader) readEnviron() {
	from := map[string]string{}
	provider := env.Provider(noDelimiter, env.Opt{
		Prefix:      prefix,
		EnvironFunc: func() []string { return l.Environ },
		TransformFunc: func(name, value string) (string, any) {
			key, isFile := l.settingOf(name, value)
			if key == "" {
				return "", nil
			}
			if other, both := from[key]; both && other != name {
				l.fault(name, "", "and "+other+" are both set", "unset one of them")
				return "", nil
			}
			from[key] = name
			text, ok := l.valueOf(name, value, isFile)
			if !ok {
				return "", nil
			}
			return key, text
		},
	})
	l.merge("environment", provider, func(key string) string { return from[key] })
}

// settingOf tells which setting a variable means, and whether its value is a path.
func (l *loader) settingOf(name, value string) (key string, isFile bool) {
	if name == FileVariable || strings.HasPrefix(name, testPrefix) || serviceLink(name, value) {
		return "", false
	}
	known := l.keys()
	meant := prefix + strings.ToUpper(strings.TrimPrefix(name, prefix))
	for _, key := range known {
		switch meant {
		case variableOf(key):
			return key, false
		case variableOf(key) + "_FILE":
			return key, true
		}
	}
	near := suggest(strings.ToLower(strings.TrimPrefix(name, prefix)), known)
	if near != "" {
		near = variableOf(near)
	}
	l.fault(name, "", "is not a setting", hintNear(near))
	return "", false
}

func (l *loader) valueOf(name, value string, isFile bool) (text string, ok bool) {
	if value == "" {
		// An empty variable is mostly one that a deployment forgot to fill. Taking it
		// for "not set" would, for one, give each replica secrets of its own.
		l.fault(name, "", "is set but empty", "give it a value, or unset it")
		return "", false
	}
	if !isFile {
		return value, true
	}
	data, problem, todo := l.read(value)
	if problem != "" {
		l.fault(value, name, problem, todo)
		return "", false
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), true
}

func (l *loader) variable(name string) string {
	value := ""
	for _, pair := range l.Environ {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			value = v
		}
	}
	return value
}

// Kubernetes gives every pod variables for every service of its namespace. With a
// service called grantor, or grantor-db, they begin with our prefix and mean nothing to us.
var serviceVariable = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

func serviceLink(name, value string) bool {
	return serviceVariable.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}
