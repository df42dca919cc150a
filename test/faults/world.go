//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// world is what all stages share: the program, PostgreSQL, and a database that each
// stage gets a copy of.
type world struct {
	root    string // of the source
	dir     string
	binary  string
	flags   []string // of go build
	stepped string   // the program whose clock can be set wrong; "": not built yet
	cluster *cluster
	slack   int // limits are so many times longer: other tests share the machine
	stages  int
	made
}

// made is who is registered.
type made struct {
	web, api credentials
	users    []account
}

const (
	issuer       = "https://issuer.example.com" // the same for all replicas, and through restarts
	serverSecret = "faults-server-secret-0123456789-abcdefghijklm"
	people       = 6

	templateDatabase = "template_grantor"
)

// newWorld builds the program from the source in root, unless binary names one.
func newWorld(ctx context.Context, root, dir, binary string, slack int, raced bool) (_ *world, err error) {
	w := &world{root: root, dir: dir, binary: binary, slack: slack}
	if raced { // the program watches itself for data races
		w.flags = []string{"-race"}
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL's user walks through it
		return nil, err
	}
	if binary == "" {
		w.binary = filepath.Join(dir, "grantor")
		if err := build(ctx, root, w.binary, w.flags...); err != nil {
			return nil, err
		}
	}
	if w.cluster, err = newCluster(ctx, filepath.Join(dir, "postgres"), nil); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.cluster.close()
		}
	}()
	if err := w.cluster.CreateDatabase(ctx, templateDatabase, "template0"); err != nil {
		return nil, err
	}
	w.made, err = register(ctx, dir, w.environment(w.cluster.URL(templateDatabase)), w.binary)
	return w, err
}

func (w *world) close() { w.cluster.close() }

// clocked answers the program whose clock can be set wrong.
func (w *world) clocked(ctx context.Context) (string, error) {
	if w.stepped != "" {
		return w.stepped, nil
	}
	binary := filepath.Join(w.dir, "grantor-clocked")
	if err := build(ctx, w.root, binary, append([]string{"-tags", "faults"}, w.flags...)...); err != nil {
		return "", err
	}
	w.stepped = binary
	return binary, nil
}

// environment is that of the program. Settings come without their prefix.
func (w *world) environment(database string, settings ...string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "GRANTOR_DATABASE=" + database, "GRANTOR_SECRETS=" + serverSecret,
		"GRANTOR_ISSUER=" + issuer, "GRANTOR_ADDRESS=127.0.0.1:0", "GRANTOR_ACCESS_TOKEN_LIFETIME=2h", "GRANTOR_DRAIN_TIMEOUT=2s",
		// Hashing is not what is tried here, and a queue of sign-ins no fault.
		"GRANTOR_PASSWORD_MEMORY=64", "GRANTOR_PASSWORD_TIME=1", "GRANTOR_PASSWORD_QUEUE=10000",
	}
	for _, s := range settings {
		env = append(env, "GRANTOR_"+s)
	}
	return env
}

// register migrates a database and makes its clients and users with the program's
// own commands.
func register(ctx context.Context, dir string, env []string, binary string) (m made, err error) {
	if _, err := run(ctx, dir, env, binary, "migrate", "up"); err != nil {
		return m, err
	}
	if m.web, err = newClient(ctx, dir, env, binary, "web", "--grant", "password", "--grant", "refresh_token", "--grant", "authorization_code",
		"--redirect-uri", callback, "--first-party", "--scope", "openid orders"); err != nil {
		return m, err
	}
	if m.api, err = newClient(ctx, dir, env, binary, "api", "--resource-server"); err != nil {
		return m, err
	}
	for i := range people {
		person := account{name: fmt.Sprintf("person%d", i+1)}
		var said struct{ ID, Password string }
		if err := read(&said)(run(ctx, dir, env, binary, "user", "create", person.name, "--json")); err != nil {
			return m, err
		}
		person.id, person.password = said.ID, said.Password
		m.users = append(m.users, person)
	}
	return m, nil
}

func newClient(ctx context.Context, dir string, env []string, binary, id string, flags ...string) (credentials, error) {
	var said struct {
		Secret string `json:"client_secret"`
	}
	args := append([]string{"client", "create", "--id", id, "--json"}, flags...)
	err := read(&said)(run(ctx, dir, env, binary, args...))
	return credentials{id, said.Secret}, err
}

// read decodes what a command printed.
func read(into any) func([]byte, error) error {
	return func(out []byte, err error) error {
		if err != nil {
			return err
		}
		return json.Unmarshal(out, into)
	}
}
