package doctor

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/users"
)

// The names of guests. Nobody else's look so, and callback is a host that never exists
// (RFC 2606): no code ever leaves the doctor.
const (
	guestPrefix = "grantor-doctor-"
	callback    = "https://grantor-doctor.invalid/callback"
)

var guestForm = regexp.MustCompile(`^` + guestPrefix + `[a-z2-7]{26}(?:-[a-z]+)?$`)

func isGuest(name string) bool { return guestForm.MatchString(name) }

// Limits of a run. Whatever a killed run leaves can be used for no longer, and what is
// older than guestsLeft was left.
const (
	runLimit      = 2 * time.Minute
	removalLimit  = 30 * time.Second
	guestsLeft    = runLimit + removalLimit
	guestAccess   = runLimit
	guestSession  = 10 * time.Minute
	guestPassword = 32 // bytes
)

// guest is one client that the attacks are made with.
type guest struct {
	id, secret string
}

// guests are who comes for one run: a user, the user's application, an application of
// somebody else, the API, and somebody else's API.
type guests struct {
	patient *Patient
	made    []string // ids of clients
	userID  string   // "" until there may be one
	mu      sync.Mutex
	jtis    []string // of access tokens, which may be on the deny-list

	user, password    string
	app, other        guest
	api, foreign      guest
	audience, strange string // of the two APIs
}

// invite makes them. What was made before a failure is in the answer, to be removed.
func (p *Patient) invite(ctx context.Context) (*guests, error) {
	name, err := clients.NewID(p.Rand)
	if err != nil {
		return nil, err
	}
	g := &guests{patient: p, user: guestPrefix + name, audience: "urn:grantor-doctor:" + name + ":api", strange: "urn:grantor-doctor:" + name + ":strange"}
	if err := g.makeUser(ctx); err != nil {
		return g, fmt.Errorf("make a user: %w", err)
	}
	code := []string{clients.GrantAuthorizationCode, clients.GrantRefreshToken}
	openid := []string{"openid", "profile"}
	for _, c := range []struct {
		as *guest
		is clients.Client
	}{
		{&g.app, clients.Client{ID: g.user + "-app", Grants: code, Scope: openid, RedirectURIs: []string{callback}, Audience: []string{g.audience}}},
		{&g.other, clients.Client{ID: g.user + "-other", Grants: append(slices.Clone(code), clients.GrantPassword), Scope: openid, RedirectURIs: []string{callback}}},
		{&g.api, clients.Client{ID: g.user + "-api", ResourceServer: true, Audience: []string{g.audience}}},
		{&g.foreign, clients.Client{ID: g.user + "-strange", ResourceServer: true, Audience: []string{g.strange}}},
	} {
		if err := g.makeClient(ctx, c.as, c.is); err != nil {
			return g, fmt.Errorf("make a client: %w", err)
		}
	}
	return g, nil
}

func (g *guests) makeUser(ctx context.Context) error {
	p := g.patient
	raw := make([]byte, guestPassword)
	if _, err := io.ReadFull(p.Rand, raw); err != nil {
		return err
	}
	g.password = base64.RawURLEncoding.EncodeToString(raw)
	hash, err := p.Passwords.Hash(ctx, g.password)
	if err != nil {
		return err
	}
	id, err := users.NewID(p.Rand)
	if err != nil {
		return err
	}
	g.userID = id
	return p.Guests.CreateUser(ctx, users.User{ID: id, Name: g.user, PasswordHash: hash})
}

func (g *guests) makeClient(ctx context.Context, as *guest, c clients.Client) error {
	p := g.patient
	plain, secret, err := clients.GenerateSecret(p.Rand, p.Now())
	if err != nil {
		return err
	}
	c.Name, c.Secrets = "grantor doctor", []clients.Secret{secret}
	c.AccessTokenLifetime, c.RefreshTokenLifetime, c.SessionLifetime = guestAccess, guestSession, guestSession
	c.SetDefaults()
	if err := c.Check(); err != nil {
		return err
	}
	as.id, as.secret = c.ID, plain
	g.made = append(g.made, c.ID)
	return p.Guests.CreateClient(ctx, c)
}

// remove takes all of it away, also when the run was interrupted.
func (g *guests) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalLimit)
	defer cancel()
	return g.patient.dismiss(ctx, g.userID, g.made, g.jtis)
}

// dismiss removes a user and clients with all that they did. What is gone already is fine.
func (p *Patient) dismiss(ctx context.Context, userID string, clientIDs, jtis []string) error {
	var errs []error
	if userID != "" {
		if _, err := p.Guests.DeleteUser(ctx, userID); err != nil && !errors.Is(err, users.ErrNotFound) {
			errs = append(errs, err)
		}
		// After the user: an attempt that was under way may have failed meanwhile.
		if _, err := p.Guests.UnlockUser(ctx, userID); err != nil {
			errs = append(errs, err)
		}
	}
	for _, id := range clientIDs {
		if _, err := p.Guests.DeleteClient(ctx, id); err != nil && !errors.Is(err, clients.ErrNotFound) {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, p.Guests.EraseClient(ctx, id, jtis...))
	}
	return errors.Join(errs...)
}

// sweep removes what a run left that was killed. waiting counts what may belong to a run
// that goes on elsewhere.
func (p *Patient) sweep(ctx context.Context) (removed, waiting int, err error) {
	list, err := p.Guests.Guests(ctx, guestPrefix)
	if err != nil {
		return 0, 0, err
	}
	var errs []error
	for _, g := range list {
		name, userID, clientIDs := g.ID, "", []string{g.ID}
		if g.Name != "" {
			name, userID, clientIDs = g.Name, g.ID, nil
		}
		switch {
		case !isGuest(strings.ToLower(name)):
		case p.Now().Sub(g.CreatedAt) < guestsLeft:
			waiting++
		default:
			errs = append(errs, p.dismiss(ctx, userID, clientIDs, nil))
			removed++
		}
	}
	return removed, waiting, errors.Join(errs...)
}
