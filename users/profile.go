package users

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// Profile is what OpenID Connect Core section 5.1 calls the standard claims, less
// those that are the server's own or another field of User: sub, preferred_username,
// email, updated_at. It has no room for any other claim, so that nothing an
// administrator imports can pass for the server's word.
type Profile struct {
	Name       string `json:"name,omitempty"` // in full, as it is displayed
	GivenName  string `json:"given_name,omitempty"`
	FamilyName string `json:"family_name,omitempty"`
	MiddleName string `json:"middle_name,omitempty"`
	Nickname   string `json:"nickname,omitempty"`
	Profile    string `json:"profile,omitempty"` // the URL of a page
	Picture    string `json:"picture,omitempty"` // a URL
	Website    string `json:"website,omitempty"` // a URL
	Gender     string `json:"gender,omitempty"`
	Birthdate  string `json:"birthdate,omitempty"` // YYYY-MM-DD, 0000-MM-DD or YYYY
	Zoneinfo   string `json:"zoneinfo,omitempty"`
	Locale     string `json:"locale,omitempty"`

	EmailVerified       bool    `json:"email_verified,omitempty"`
	PhoneNumber         string  `json:"phone_number,omitempty"`
	PhoneNumberVerified bool    `json:"phone_number_verified,omitempty"`
	Address             Address `json:"address,omitzero"`
}

// Address is OpenID Connect Core section 5.1.1.
type Address struct {
	Formatted     string `json:"formatted,omitempty"`      // may have several lines
	StreetAddress string `json:"street_address,omitempty"` // may have several lines
	Locality      string `json:"locality,omitempty"`
	Region        string `json:"region,omitempty"`
	PostalCode    string `json:"postal_code,omitempty"`
	Country       string `json:"country,omitempty"`
}

// Bounds, in characters. userinfo sends a profile with each answer, and applications
// put it into cookies and columns.
const (
	maxClaim  = 200
	maxLines  = 1000
	maxURL    = 2000
	maxShort  = 64
	maxLocale = 35 // RFC 5646 section 4.4.1
)

var (
	birthdateForm = regexp.MustCompile(`^[0-9]{4}(-[0-9]{2}-[0-9]{2})?$`)
	zoneForm      = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$`)
	// OpenID Connect Core allows the underscore: it is in wide use.
	localeForm = regexp.MustCompile(`^[A-Za-z]{2,8}([_-][A-Za-z0-9]{1,8})*$`)
	// E.164 with what people put between the digits, and RFC 3966's extension.
	phoneForm  = regexp.MustCompile(`^\+[0-9 ().-]{5,30}(;ext=[0-9]{1,11})?$`)
	phoneDigit = regexp.MustCompile(`[0-9]`)
)

// CheckProfile says all that is wrong with a profile, in one line, wrapping
// ErrInvalid. It names claims and never quotes what they hold.
func CheckProfile(p Profile) error {
	var faults []string
	fault := func(claim, problem string) { faults = append(faults, claim+" "+problem) }
	for _, c := range []struct {
		claim, value string
		most         int
	}{
		{"name", p.Name, maxClaim},
		{"given_name", p.GivenName, maxClaim},
		{"family_name", p.FamilyName, maxClaim},
		{"middle_name", p.MiddleName, maxClaim},
		{"nickname", p.Nickname, maxClaim},
		{"gender", p.Gender, maxShort},
		{"address.locality", p.Address.Locality, maxClaim},
		{"address.region", p.Address.Region, maxClaim},
		{"address.postal_code", p.Address.PostalCode, maxShort},
		{"address.country", p.Address.Country, maxClaim},
		{"address.formatted", unbroken(p.Address.Formatted), maxLines},
		{"address.street_address", unbroken(p.Address.StreetAddress), maxLines},
	} {
		if problem := textProblem(c.value, c.most); problem != "" {
			fault(c.claim, problem)
		}
	}
	for _, c := range []struct{ claim, value string }{{"profile", p.Profile}, {"picture", p.Picture}, {"website", p.Website}} {
		if c.value != "" && !webURL(c.value) {
			fault(c.claim, "is not an http or https URL")
		}
	}
	if p.Birthdate != "" && !isBirthdate(p.Birthdate) {
		fault("birthdate", "is not of the form YYYY-MM-DD, 0000-MM-DD or YYYY")
	}
	if p.Zoneinfo != "" && (len(p.Zoneinfo) > maxShort || !zoneForm.MatchString(p.Zoneinfo)) {
		fault("zoneinfo", "is not the name of a time zone like Europe/Berlin")
	}
	if p.Locale != "" && (len(p.Locale) > maxLocale || !localeForm.MatchString(p.Locale)) {
		fault("locale", "is not a language tag like en-US")
	}
	if p.PhoneNumber != "" && !isPhone(p.PhoneNumber) {
		fault("phone_number", "is not of the form +49 30 123456")
	}
	if p.PhoneNumberVerified && p.PhoneNumber == "" {
		fault("phone_number_verified", "needs a phone_number")
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrInvalid, strings.Join(faults, "; "))
}

func textProblem(text string, most int) string {
	switch {
	case !utf8.ValidString(text):
		return "is not UTF-8"
	case utf8.RuneCountInString(text) > most:
		return fmt.Sprintf("has more than %d characters", most)
	case strings.ContainsFunc(text, unprintable):
		return "has a control character"
	}
	return ""
}

// unbroken takes out the line breaks that an address may have.
func unbroken(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", " "), "\n", " ")
}

// webURL reports whether a page may safely make a link or an image of the text.
func webURL(text string) bool {
	if len(text) > maxURL || !printableASCII(text) || strings.ContainsAny(text, " \\\"<>") {
		return false
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil
}

func isBirthdate(text string) bool {
	if !birthdateForm.MatchString(text) {
		return false
	}
	if len(text) == len("YYYY") {
		return true
	}
	_, err := time.Parse(time.DateOnly, text)
	return err == nil
}

func isPhone(text string) bool {
	if !phoneForm.MatchString(text) {
		return false
	}
	number, _, _ := strings.Cut(text, ";")
	digits := len(phoneDigit.FindAllString(number, -1))
	return digits >= 5 && digits <= 15 // E.164 section 6
}
