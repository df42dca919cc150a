package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

const (
	maxImportLine   = 64 << 10 // bytes, the line's end not counted
	maxImportFaults = 10       // told at once
)

// importLine is one line of a file. Its members are the standard claims and these.
type importLine struct {
	ID           string `json:"id"`
	Username     string `json:"username"`
	Email        string `json:"email"`
	PasswordHash string `json:"password_hash"`
	Password     string `json:"password"`
	Disabled     bool   `json:"disabled"`
	users.Profile
}

var importMembers = []string{
	"id", "username", "email", "password_hash", "password", "disabled",
	"name", "given_name", "family_name", "middle_name", "nickname", "profile", "picture", "website", "gender", "birthdate", "zoneinfo", "locale",
	"email_verified", "phone_number", "phone_number_verified", "address",
}

var addressMembers = []string{"formatted", "street_address", "locality", "region", "postal_code", "country"}

// What the server says of a user by itself. As members they are unknown like any
// other, but whoever wrote them meant something.
var serverMembers = map[string]string{
	"sub": "write it as id", "preferred_username": "write it as username", "updated_at": "leave it out",
	"iss": "", "aud": "", "exp": "", "nbf": "", "iat": "", "jti": "", "auth_time": "", "nonce": "", "acr": "", "amr": "", "azp": "", "sid": "",
	"at_hash": "", "c_hash": "", "client_id": "", "scope": "", "gid": "", "cnf": "", "act": "", "may_act": "",
}

// imported is one account of a file before anything is hashed.
type imported struct {
	users.User
	password string
	line     int
}

// importCounts is what an import did, or would have done.
type importCounts struct {
	Users           int  `json:"users"`
	Hashes          int  `json:"password_hashes"`
	Passwords       int  `json:"passwords"`
	WithoutPassword int  `json:"without_password"`
	Disabled        int  `json:"disabled"`
	DryRun          bool `json:"dry_run"`
}

func (c *cli) userImport() *cobra.Command {
	var dry, asJSON bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Make all accounts of a file of JSON lines, or none (- is standard input)", Args: arguments,
		Long: `Make all accounts of a file of JSON lines, or none (- is standard input).

Each line is one object. Its members are "username", and where wanted "id" (the
subject of tokens), "email", "disabled", the standard claims of OpenID Connect, and
one of "password" and "password_hash" (argon2, bcrypt, scrypt, pbkdf2):

    {"username": "alice", "email": "alice@example.com", "email_verified": true, "password_hash": "$2b$12$…"}`,
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Look at everything, change nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			list, err := c.readImport(d, args[0])
			if err != nil {
				return err
			}
			if err := c.importAll(ctx, d, list, dry); err != nil {
				return err
			}
			return c.printImport(countImport(list, dry), asJSON)
		})
	}
	return cmd
}

func (c *cli) readImport(d desk, path string) ([]imported, error) {
	passwords, err := c.passwords(d.config)
	if err != nil {
		return nil, err
	}
	in := c.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, withHint(err, "name a file of JSON lines: grantor user import --help")
		}
		defer f.Close()
		in = f
	}
	return readImportFile(in, &importReader{
		newID: func() (string, error) { return users.NewID(c.rand) }, checkHash: passwords.CheckHash, now: c.now(), seen: map[string]int{},
	})
}

// importAll hashes what has to be hashed only after the database has agreed to all
// accounts: that takes its time.
func (c *cli) importAll(ctx context.Context, d desk, list []imported, dry bool) error {
	accounts := make([]users.User, len(list))
	hashing := false
	for i, u := range list {
		accounts[i] = u.User
		hashing = hashing || u.password != ""
	}
	if dry || hashing {
		if err := nameLine(d.RehearseImport(ctx, accounts), list); err != nil || dry {
			return err
		}
	}
	for i, u := range list {
		if u.password == "" {
			continue
		}
		var err error
		if accounts[i].PasswordHash, err = c.hash(ctx, d, u.password); err != nil {
			return err
		}
	}
	return nameLine(d.ImportUsers(ctx, accounts), list)
}

// nameLine says which line of the file the store refused.
func nameLine(err error, list []imported) error {
	var refused *storage.ImportError
	if !errors.As(err, &refused) {
		return err
	}
	return importFailed([]string{fmt.Sprintf("line %d: %v", list[refused.Index].line, refused.Err)})
}

// importFailed is no users.ErrInvalid: the command is right, the data is not.
func importFailed(faults []string) error {
	return withHint(errors.New("nothing is imported: "+strings.Join(faults, "; ")), "mend the file, look with --dry-run, then import again")
}

// importReader is what one line after the other is held against.
type importReader struct {
	newID     func() (string, error)
	checkHash func(string) error
	now       time.Time
	seen      map[string]int // names, addresses and ids, and the line where they were
}

// readImportFile reads line by line: no more of the file than its accounts is ever held.
func readImportFile(in io.Reader, r *importReader) ([]imported, error) {
	lines := bufio.NewReaderSize(in, maxImportLine+2)
	var list []imported
	var faults []string
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, importFailed(append(faults, fmt.Sprintf("line %d: is longer than 64 KiB", number)))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read line %d: %w", number, err)
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if line := bytes.TrimSpace(line); len(line) > 0 {
			u, fault := r.read(line, number)
			if fault != nil {
				faults = append(faults, fmt.Sprintf("line %d: %s", number, strings.TrimPrefix(fault.Error(), users.ErrInvalid.Error()+": ")))
			} else {
				list = append(list, u)
			}
			if len(faults) == maxImportFaults {
				return nil, importFailed(append(faults, "and perhaps more"))
			}
		}
		if err != nil {
			break
		}
	}
	if len(faults) > 0 {
		return nil, importFailed(faults)
	}
	if len(list) == 0 {
		return nil, importFailed([]string{"there is no account in the file"})
	}
	return list, nil
}

// read never quotes what a line holds: it may be a password, in the wrong place even.
func (r *importReader) read(line []byte, number int) (imported, error) {
	if !utf8.Valid(line) {
		return imported{}, errors.New("is not UTF-8")
	}
	if err := checkMembers(line); err != nil {
		return imported{}, err
	}
	var in importLine
	if err := json.Unmarshal(line, &in); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return imported{}, fmt.Errorf("member %q is of the wrong kind", kind.Field)
		}
		return imported{}, errNoObject
	}
	u := imported{line: number, password: in.Password, User: users.User{
		ID: in.ID, Name: strings.TrimSpace(in.Username), Email: in.Email, PasswordHash: in.PasswordHash, Profile: in.Profile,
	}}
	if in.Disabled {
		u.DisabledAt = r.now
	}
	if u.ID == "" {
		var err error
		if u.ID, err = r.newID(); err != nil {
			return imported{}, err
		}
	}
	if u.Name == "" {
		return imported{}, errors.New("there is no username")
	}
	if err := u.Check(); err != nil {
		return imported{}, err
	}
	if err := r.checkPassword(in); err != nil {
		return imported{}, err
	}
	return u, r.remember(u)
}

func (r *importReader) checkPassword(in importLine) error {
	switch {
	case in.Password != "" && in.PasswordHash != "":
		return errors.New("there are both a password and a password_hash")
	case in.Password != "":
		return users.CheckPassword(in.Password)
	case in.PasswordHash != "" && r.checkHash(in.PasswordHash) != nil:
		return errors.New("the password_hash is of no kind that is supported (argon2, bcrypt, scrypt, pbkdf2, with affordable parameters)")
	}
	return nil
}

// remember refuses what an earlier line has.
func (r *importReader) remember(u imported) error {
	keys := map[string]string{"id": "i" + u.ID, "username": "n" + users.NormalizeName(u.Name)}
	if u.Email != "" {
		keys["email"] = "e" + users.NormalizeName(u.Email)
	}
	for _, member := range []string{"id", "username", "email"} {
		if first, taken := r.seen[keys[member]]; taken && keys[member] != "" {
			return fmt.Errorf("the %s is that of line %d", member, first)
		}
	}
	for _, key := range keys {
		r.seen[key] = u.line
	}
	return nil
}

func countImport(list []imported, dry bool) importCounts {
	counts := importCounts{Users: len(list), DryRun: dry}
	for _, u := range list {
		switch {
		case u.PasswordHash != "":
			counts.Hashes++
		case u.password != "":
			counts.Passwords++
		default:
			counts.WithoutPassword++
		}
		if !u.DisabledAt.IsZero() {
			counts.Disabled++
		}
	}
	return counts
}

func (c *cli) printImport(n importCounts, asJSON bool) error {
	if asJSON {
		return writeJSON(c.stdout, n)
	}
	said := "imported"
	if n.DryRun {
		said = "can be imported, nothing is changed"
	}
	_, err := fmt.Fprintf(c.stdout, "%s %s: %d with a password hash, %d with a password, %d without, %d disabled\n",
		count(int64(n.Users), "user"), said, n.Hashes, n.Passwords, n.WithoutPassword, n.Disabled)
	return err
}
