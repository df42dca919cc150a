package oauth

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// userinfo is OpenID Connect Core section 5.3.2: a claim is a field, there is no map
// that a profile could put another one into. Nothing that is unknown is sent.
type userinfo struct {
	Subject string `json:"sub"`

	// The scope profile
	Name              string `json:"name,omitempty"`
	FamilyName        string `json:"family_name,omitempty"`
	GivenName         string `json:"given_name,omitempty"`
	MiddleName        string `json:"middle_name,omitempty"`
	Nickname          string `json:"nickname,omitempty"`
	PreferredUsername string `json:"preferred_username,omitempty"`
	Profile           string `json:"profile,omitempty"`
	Picture           string `json:"picture,omitempty"`
	Website           string `json:"website,omitempty"`
	Gender            string `json:"gender,omitempty"`
	Birthdate         string `json:"birthdate,omitempty"`
	Zoneinfo          string `json:"zoneinfo,omitempty"`
	Locale            string `json:"locale,omitempty"`
	UpdatedAt         int64  `json:"updated_at,omitempty"`

	// The scopes email, address and phone. Not verified is told, where there is what
	// could have been.
	Email               string        `json:"email,omitempty"`
	EmailVerified       *bool         `json:"email_verified,omitempty"`
	Address             users.Address `json:"address,omitzero"`
	PhoneNumber         string        `json:"phone_number,omitempty"`
	PhoneNumberVerified *bool         `json:"phone_number_verified,omitempty"`
}

// The metadata's lists. A test asks for these scopes and wants exactly these claims.
var (
	userScopes = []string{"openid", "profile", "email", "address", "phone"}
	userClaims = []string{
		"sub", "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website",
		"gender", "birthdate", "zoneinfo", "locale", "updated_at", "email", "email_verified", "address", "phone_number", "phone_number_verified",
	}
)

// tell answers the claims that the scopes ask for: OpenID Connect Core section 5.4.
func tell(subject string, scopes []string, record storage.AccessRecord) (userinfo, error) {
	p, err := record.Profile()
	if err != nil {
		return userinfo{}, err
	}
	answer := userinfo{Subject: subject}
	if slices.Contains(scopes, "profile") {
		answer.Name, answer.FamilyName, answer.GivenName, answer.MiddleName = p.Name, p.FamilyName, p.GivenName, p.MiddleName
		answer.Nickname, answer.PreferredUsername = p.Nickname, record.UserName
		answer.Profile, answer.Picture, answer.Website = p.Profile, p.Picture, p.Website
		answer.Gender, answer.Birthdate, answer.Zoneinfo, answer.Locale = p.Gender, p.Birthdate, p.Zoneinfo, p.Locale
		answer.UpdatedAt = record.UserUpdated.Unix()
	}
	if slices.Contains(scopes, "email") && record.UserEmail != "" {
		answer.Email, answer.EmailVerified = record.UserEmail, &p.EmailVerified
	}
	if slices.Contains(scopes, "address") {
		answer.Address = p.Address
	}
	if slices.Contains(scopes, "phone") && p.PhoneNumber != "" {
		answer.PhoneNumber, answer.PhoneNumberVerified = p.PhoneNumber, &p.PhoneNumberVerified
	}
	return answer, nil
}

// Userinfo is GET and POST /userinfo: OpenID Connect Core section 5.3, for an access
// token with the scope openid and this server as an audience. One statement.
func (h *Handler) Userinfo(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	token, err := bearer(r)
	if err != nil {
		return err
	}
	now := h.Now()
	c, err := h.readAccessToken(token, now)
	if errors.Is(err, errAccessToken) {
		return invalidToken("not a live access token")
	}
	if err != nil {
		return err
	}
	trail := trailOf(ctx)
	trail.Client, trail.Session = c.ClientID, c.Grant
	if !c.isFor(h.Issuer) {
		return invalidToken("for another audience")
	}
	if c.Grant == "" || !slices.Contains(c.scopes(), "openid") {
		return insufficientScope("openid")
	}
	id, err := c.grantID()
	if err != nil {
		return err
	}
	record, err := h.Store.Access(ctx, id, c.ClientID, c.ID, now)
	if err != nil {
		return err
	}
	if !alive(c, record) {
		return invalidToken("revoked")
	}
	answer, err := tell(c.Subject, c.scopes(), record)
	if err != nil {
		return err
	}
	trail.Outcome = "told"
	return writeJSON(w, answer)
}

// bearer takes the token from the header (RFC 6750 section 2.1) or, in a POST, from
// the form (section 2.2), but never from the query (RFC 9700 section 4.3.2), and
// only by one way at once.
func bearer(r *http.Request) (string, error) {
	if r.URL.Query().Has("access_token") {
		return "", invalidRequest("an access token in the query is not read")
	}
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return "", invalidRequest("two Authorization headers")
	}
	var token string
	if len(headers) == 1 {
		scheme, value, _ := strings.Cut(headers[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			token = strings.TrimSpace(value)
		}
	}
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "" {
		form, err := readForm(r)
		if err != nil {
			return "", err
		}
		if inForm := form.Get("access_token"); inForm != "" {
			if token != "" {
				return "", invalidRequest("two access tokens")
			}
			token = inForm
		}
	}
	if token == "" {
		return "", missingToken()
	}
	return token, nil
}
