package oauth

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"

	"github.com/grantorhq/grantor/users"
)

// scopeClaims is OpenID Connect Core section 5.4: what a scope asks for.
var scopeClaims = map[string][]string{
	"profile": {
		"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website",
		"gender", "birthdate", "zoneinfo", "locale", "updated_at",
	},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}

// userScopes are the scopes with claims behind them, in the order that metadata shows.
var userScopes = []string{"openid", "profile", "email", "address", "phone"}

// userClaims are all claims about a user, in the order that metadata shows.
func userClaims() []string {
	list := []string{"sub"}
	for _, scope := range userScopes {
		list = append(list, scopeClaims[scope]...)
	}
	return list
}

// wanted are the claims that the scopes ask for, and those asked for by name.
func wanted(scopes, names []string) []string {
	list := slices.Clone(names)
	for _, scope := range scopes {
		list = append(list, scopeClaims[scope]...)
	}
	return list
}

// stillMeant leaves out claims whose scope the client has lost since they were asked for by name.
func stillMeant(names, registered []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(wanted(registered, nil), name) })
}

// claimOf is what is known of a user under the name of a claim, and nil for nothing:
// what is unknown is not sent. Only the names above mean something, so that a profile
// can not put a claim of the server's own into an answer.
func claimOf(u users.User, name string) any {
	p := u.Profile
	switch name {
	case "name":
		return known(p.Name)
	case "family_name":
		return known(p.FamilyName)
	case "given_name":
		return known(p.GivenName)
	case "middle_name":
		return known(p.MiddleName)
	case "nickname":
		return known(p.Nickname)
	case "preferred_username":
		return known(u.Name)
	case "profile":
		return known(p.Profile)
	case "picture":
		return known(p.Picture)
	case "website":
		return known(p.Website)
	case "gender":
		return known(p.Gender)
	case "birthdate":
		return known(p.Birthdate)
	case "zoneinfo":
		return known(p.Zoneinfo)
	case "locale":
		return known(p.Locale)
	case "updated_at":
		return u.UpdatedAt.Unix()
	case "email":
		return known(u.Email)
	case "phone_number":
		return known(p.PhoneNumber)
	case "address":
		if p.Address != (users.Address{}) {
			return p.Address
		}
	// Not verified is told, where there is what could have been.
	case "email_verified":
		if u.Email != "" {
			return p.EmailVerified
		}
	case "phone_number_verified":
		if p.PhoneNumber != "" {
			return p.PhoneNumberVerified
		}
	}
	return nil
}

func known(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// tell puts the claims into an answer. The server's own are put there afterwards.
func tell(answer map[string]any, u users.User, names []string) {
	for _, name := range names {
		if value := claimOf(u, name); value != nil {
			answer[name] = value
		}
	}
}

// askedClaims is the claims parameter: OpenID Connect Core section 5.5.
type askedClaims struct {
	Userinfo, IDToken []string // names that mean something here
	Scope             []string // that they belong to: what the person is asked for
	Subject           string   // the person who must answer
	acrMissed         bool     // an essential acr that there is none of
}

// maxClaims bounds the parameter, in bytes.
const maxClaims = 4096

// claimRequest is one member of it: null, or what the value should be.
type claimRequest struct {
	Essential bool  `json:"essential"`
	Value     any   `json:"value"`
	Values    []any `json:"values"`
}

// readClaims keeps the claims of scopes that the client is registered with. Asking by
// name must not get around the registration; what may not be had is left out, as what
// is not known (section 5.5.1).
func readClaims(text string, registered []string) (askedClaims, error) {
	if text == "" {
		return askedClaims{}, nil
	}
	var asked struct {
		Userinfo map[string]*claimRequest `json:"userinfo"`
		IDToken  map[string]*claimRequest `json:"id_token"`
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	if len(text) > maxClaims {
		return askedClaims{}, invalidRequest("claims is too long")
	}
	if err := d.Decode(&asked); err != nil {
		return askedClaims{}, invalidRequest("claims is not a claims request")
	}
	if _, err := d.Token(); err != io.EOF {
		return askedClaims{}, invalidRequest("claims is not a claims request")
	}
	var claims askedClaims
	claims.Userinfo, claims.IDToken = claims.meant(asked.Userinfo, registered), claims.meant(asked.IDToken, registered)
	for _, members := range []map[string]*claimRequest{asked.Userinfo, asked.IDToken} {
		if sub := members["sub"]; sub != nil {
			if subject, ok := sub.Value.(string); ok {
				claims.Subject = subject
			}
		}
	}
	if acr := asked.IDToken["acr"]; acr != nil && acr.Essential {
		accepted := acr.Values
		if acr.Value != nil {
			accepted = append(accepted, acr.Value)
		}
		claims.acrMissed = len(accepted) > 0 && !slices.Contains(accepted, any(acrPassword))
	}
	return claims, nil
}

// meant keeps the names that claimOf knows, in the order of metadata, and notes their scopes.
func (c *askedClaims) meant(asked map[string]*claimRequest, registered []string) []string {
	var names []string
	for _, scope := range userScopes {
		if !slices.Contains(registered, scope) {
			continue
		}
		for _, name := range scopeClaims[scope] {
			if _, ok := asked[name]; ok {
				names, c.Scope = append(names, name), append(c.Scope, scope)
			}
		}
	}
	return names
}
