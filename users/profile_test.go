package users_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/users"
)

func TestCheckProfile(t *testing.T) {
	t.Parallel()
	require.NoError(t, users.CheckProfile(users.Profile{}))
	long := func(n int) string { return strings.Repeat("ä", n) }
	for name, c := range map[string]struct {
		profile users.Profile
		fault   string // "" = none
	}{
		"longest name":              {users.Profile{Name: long(200)}, ""},
		"too long name":             {users.Profile{Name: long(201)}, "name has more than 200 characters"},
		"not UTF-8":                 {users.Profile{GivenName: "a\xff"}, "given_name is not UTF-8"},
		"control":                   {users.Profile{FamilyName: "a\x1b[31m"}, "family_name has a control character"},
		"line break":                {users.Profile{MiddleName: "a\nb"}, "middle_name has a control character"},
		"bidi override":             {users.Profile{Nickname: "a\u202eb"}, "nickname has a control character"},
		"NUL":                       {users.Profile{Gender: "a\x00"}, "gender has a control character"},
		"long gender":               {users.Profile{Gender: long(65)}, "gender has more"},
		"https":                     {users.Profile{Picture: "https://cdn.test/a.png?x=1&y=%20"}, ""},
		"http":                      {users.Profile{Website: "http://alice.test"}, ""},
		"javascript":                {users.Profile{Website: "javascript:alert(1)"}, "website is not"},
		"data":                      {users.Profile{Picture: "data:image/png;base64,AA"}, "picture is not"},
		"no host":                   {users.Profile{Profile: "https:///a"}, "profile is not"},
		"relative":                  {users.Profile{Profile: "//evil.test/a"}, "profile is not"},
		"userinfo":                  {users.Profile{Profile: "https://a:b@evil.test"}, "profile is not"},
		"blank in URL":              {users.Profile{Profile: "https://a.test/ b"}, "profile is not"},
		"breaks out of attributes":  {users.Profile{Picture: `https://a.test/"onload=x`}, "picture is not"},
		"long URL":                  {users.Profile{Picture: "https://a.test/" + strings.Repeat("a", 2000)}, "picture is not"},
		"birthdate":                 {users.Profile{Birthdate: "1990-12-31"}, ""},
		"birth year":                {users.Profile{Birthdate: "1990"}, ""},
		"birthday":                  {users.Profile{Birthdate: "0000-02-29"}, ""},
		"31 February":               {users.Profile{Birthdate: "1990-02-31"}, "birthdate is not"},
		"birthdate of another form": {users.Profile{Birthdate: "31.12.1990"}, "birthdate is not"},
		"birthdate with time":       {users.Profile{Birthdate: "1990-12-31T00:00:00Z"}, "birthdate is not"},
		"zone":                      {users.Profile{Zoneinfo: "America/Argentina/Buenos_Aires"}, ""},
		"zone UTC":                  {users.Profile{Zoneinfo: "Etc/GMT+3"}, ""},
		"zone is a path":            {users.Profile{Zoneinfo: "../../etc/passwd"}, "zoneinfo is not"},
		"locale":                    {users.Profile{Locale: "zh-Hant-TW"}, ""},
		"locale with underscore":    {users.Profile{Locale: "en_US"}, ""},
		"locale is a word list":     {users.Profile{Locale: "en, de;q=0.5"}, "locale is not"},
		"long locale":               {users.Profile{Locale: "en" + strings.Repeat("-aaaa", 7)}, "locale is not"},
		"phone":                     {users.Profile{PhoneNumber: "+1 (425) 555-1212", PhoneNumberVerified: true}, ""},
		"phone with extension":      {users.Profile{PhoneNumber: "+1 (604) 555-1234;ext=5678"}, ""},
		"phone without plus":        {users.Profile{PhoneNumber: "030 123456"}, "phone_number is not"},
		"phone with 16 digits":      {users.Profile{PhoneNumber: "+1234567890123456"}, "phone_number is not"},
		"phone of blanks":           {users.Profile{PhoneNumber: "+        1"}, "phone_number is not"},
		"verified nothing":          {users.Profile{PhoneNumberVerified: true}, "phone_number_verified needs"},
		"lines":                     {users.Profile{Address: users.Address{Formatted: "1 Road\r\nTown", StreetAddress: "1 Road\nBack"}}, ""},
		"lone carriage return":      {users.Profile{Address: users.Address{Formatted: "1 Road\rTown"}}, "address.formatted has a control"},
		"line break in the country": {users.Profile{Address: users.Address{Country: "A\nB"}}, "address.country has a control"},
		"long street":               {users.Profile{Address: users.Address{StreetAddress: long(1001)}}, "address.street_address has more"},
		"long post code":            {users.Profile{Address: users.Address{PostalCode: long(65)}}, "address.postal_code has more"},
		"region":                    {users.Profile{Address: users.Address{Region: "\u2028"}}, "address.region has a control"},
		"locality":                  {users.Profile{Address: users.Address{Locality: "\xff"}}, "address.locality is not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := users.CheckProfile(c.profile)
			if c.fault == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, users.ErrInvalid)
			require.ErrorContains(t, err, c.fault)
		})
	}
	err := users.CheckProfile(users.Profile{Name: "a\x00", Locale: "!!"})
	require.EqualError(t, err, "invalid user: name has a control character; locale is not a language tag like en-US")
}

// Every text of a profile is bounded: a claim that CheckProfile forgets fails here.
func TestCheckProfile_forgets_no_claim(t *testing.T) {
	t.Parallel()
	var p users.Profile
	var texts func(v reflect.Value)
	texts = func(v reflect.Value) {
		for i := range v.NumField() {
			switch field := v.Field(i); field.Kind() {
			case reflect.Struct:
				texts(field)
			case reflect.String:
				for _, bad := range []string{strings.Repeat("a", 3000), "a\x00", "\xff"} {
					field.SetString(bad)
					require.ErrorIs(t, users.CheckProfile(p), users.ErrInvalid, v.Type().Field(i).Name)
				}
				field.SetString("")
			case reflect.Bool:
			default:
				t.Fatalf("%s: no rule for its kind", v.Type().Field(i).Name)
			}
		}
	}
	texts(reflect.ValueOf(&p).Elem())
}

// What applications read and what is stored have these names: OpenID Connect Core 5.1.
func TestProfile_has_the_names_of_OpenID_Connect(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile(filepath.Join("testdata", "profile.golden.json"))
	require.NoError(t, err)
	var p users.Profile
	require.NoError(t, json.Unmarshal(want, &p))
	require.NoError(t, users.CheckProfile(p))
	value := reflect.ValueOf(p)
	for i := range value.NumField() {
		require.False(t, value.Field(i).IsZero(), "%s is not in the file", value.Type().Field(i).Name)
	}
	got, err := json.MarshalIndent(p, "", "  ")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got)+"\n")
	got, err = json.Marshal(users.Profile{})
	require.NoError(t, err)
	require.Equal(t, "{}", string(got))
}

func TestUser_Check(t *testing.T) {
	t.Parallel()
	good := users.User{ID: "id-1", Name: "alice", Email: "alice@app.test", Profile: users.Profile{EmailVerified: true}}
	require.NoError(t, good.Check())
	for name, change := range map[string]func(*users.User){
		"no id":            func(u *users.User) { u.ID = "" },
		"blank in the id":  func(u *users.User) { u.ID = "a b" },
		"line after id":    func(u *users.User) { u.ID = "a\n" },
		"a throttle's key": func(u *users.User) { u.ID = users.NobodysAccount("bob") },
		"long id":          func(u *users.User) { u.ID = strings.Repeat("a", 65) },
		"no name":          func(u *users.User) { u.Name = " " },
		"address":          func(u *users.User) { u.Email = "alice" },
		"verified nothing": func(u *users.User) { u.Email = "" },
		"profile":          func(u *users.User) { u.Profile.Locale = "!" },
	} {
		u := good
		change(&u)
		require.ErrorIs(t, u.Check(), users.ErrInvalid, name)
	}
	good.ID = strings.Repeat("Z", 64)
	require.NoError(t, good.Check())
}
