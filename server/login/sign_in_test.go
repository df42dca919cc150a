package login_test

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/users"
)

const wrong = "not the password of anybody"

func TestSignIn_to_the_account(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		require.False(t, signedIn(t, b))
		require.Equal(t, "/account", b.SignIn("alice").Location())
		require.True(t, signedIn(t, b))
		require.Equal(t, "/account", b.Get("/login").Require(http.StatusSeeOther).Location(), "there is nothing to ask")
		other := w.Browser()
		other.Get("/login").Submit("username", " ALICE@app.test", "password", servertest.Password("alice")).Require(http.StatusSeeOther)
		require.True(t, signedIn(t, other), "by the e-mail address, whatever its case")
	})
}

// The page is shown again with what was typed, so that the person can just go on.
func TestSignIn_without_its_token_L01(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	stranger := formToken(t, w.Browser())
	for name, token := range map[string]string{"none": "", "another browser's": stranger, "made up": "evil-evil-evil-evil-evil"} {
		for _, cookies := range []bool{true, false} {
			b := w.Browser()
			begin := b.Authorize("c1")
			request := sealed(t, begin)
			begin.Follow()
			if !cookies {
				b.Cookies = map[string]*http.Cookie{}
			}
			p := b.Post("/login", "request", request, "csrf_token", token, "username", "alice", "password", servertest.Password("alice"))
			p.Require(http.StatusForbidden)
			require.NotContains(t, b.Cookies, sessionCookie, name)
			require.False(t, signedIn(t, b), name)
			require.Equal(t, "alice", p.Form("username").Fields.Get("username"))
			require.NotEmpty(t, p.Submit("username", "alice", "password", servertest.Password("alice")).Through("alice").Code())
		}
	}
	// The token alone, without the cookie that it is compared with.
	b := w.Browser()
	token := formToken(t, b)
	b.Cookies = map[string]*http.Cookie{}
	b.Post("/login", "csrf_token", token, "username", "alice", "password", servertest.Password("alice")).Require(http.StatusForbidden)
	require.False(t, signedIn(t, b))
}

func TestSignIn_makes_the_cookie_of_before_worthless_L04(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		page := b.Get("/login")
		b.SignIn("alice")
		before, id := copyOf(w, b), browserID(t, w, b)
		require.True(t, signedIn(t, before))
		page.Submit("username", "alice", "password", servertest.Password("alice")).Require(http.StatusSeeOther)
		require.NotEqual(t, before.Cookies[sessionCookie].Value, b.Cookies[sessionCookie].Value)
		require.True(t, signedIn(t, b))
		require.False(t, signedIn(t, before), "the value of before is dead")
		require.Equal(t, id, browserID(t, w, b), "clients know the sign-in by its sid")

		// Somebody else at the same browser: whoever planted or kept that cookie is out.
		bobs := copyOf(w, b)
		tokens := obtain(w, b, "c1", "alice")
		page.Submit("username", "bob", "password", servertest.Password("bob")).Require(http.StatusSeeOther)
		require.False(t, signedIn(t, bobs))
		require.NotEqual(t, id, browserID(t, w, b))
		w.Refresh("c1", tokens.Refresh()).Refused(400, "invalid_grant")
	})
}

func TestSignIn_leads_only_to_this_site_L05(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, to := range []string{"//evil.test", "https:evil.test", "https://evil.test", "/\\evil.test", "javascript:alert(1)"} {
		for _, name := range []string{"return_to", "next", "continue", "redirect", "redirect_uri", "rd", "url", "post_logout_redirect_uri"} {
			b := w.Browser()
			p := b.Get("/login?" + servertest.Encode(name, to)).Require(http.StatusOK)
			require.Equal(t, "/account", p.Submit("username", "alice", "password", servertest.Password("alice"), name, to).Require(http.StatusSeeOther).Location())
		}
		b := w.Browser()
		p := b.Get("/login?" + servertest.Encode("request", to)).Require(http.StatusBadRequest)
		require.Empty(t, p.Location())
		require.Empty(t, b.Get("/consent?"+servertest.Encode("request", to)).Require(http.StatusBadRequest).Location())
		require.Empty(t, b.Get("/logout?"+servertest.Encode("request", to)).Require(http.StatusBadRequest).Location())
	}
}

func TestSignIn_shows_what_was_typed_as_text_L06(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, text := range []string{`"><svg onload=1>`, `' onfocus='1`, "</title><script>1</script>", "{{.}}", "&lt;script&gt;", "\u202eevil"} {
		b := w.Browser()
		p := b.Get("/login").Submit("username", text, "password", wrong).Require(http.StatusBadRequest)
		require.Equal(t, text, p.Form("username").Fields.Get("username"))
		p = b.Authorize("c1", "login_hint", text).Follow().Require(http.StatusOK)
		require.Equal(t, text, p.Form("username").Fields.Get("username"))
		b.Get("/login?" + servertest.Encode("error", text, "error_description", text, "fault", text)).Require(http.StatusOK)
	}
	p := w.Browser().Authorize("c1", "login_hint", strings.Repeat("x", 300)).Follow().Require(http.StatusOK)
	require.Empty(t, p.Form("username").Fields.Get("username"), "nobody has a name that long")
}

// One answer and one price: the same bytes, as many statements, and a password is hashed for each.
func TestSignIn_tells_nobody_who_has_an_account_L07(t *testing.T) {
	t.Parallel()
	queue := newBusy()
	servertest.Each(t, servertest.Setup{Passwords: users.PasswordOptions{}}, func(t *testing.T, w *servertest.World) {
		require.NoError(t, disable(t, w, "bob"))
		b := w.Browser()
		page := b.Get("/login")
		try := func(name string) (p *servertest.Page, statements int) {
			statements = w.Statements(func() { p = page.Submit("username", name, "password", wrong) })
			return p, statements
		}
		try("alice")
		known, price := try("alice")
		known.Require(http.StatusBadRequest)
		for _, name := range []string{"alicx", "bob"} {
			try(name)
			p, statements := try(name)
			p.Require(http.StatusBadRequest)
			require.Equal(t, price, statements, name)
			want := strings.ReplaceAll(string(known.Body), "alice", name)
			require.Equal(t, want, string(p.Body), name)
			require.Equal(t, plain(known.Header), plain(p.Header), name)
		}
	})
	w := servertest.New(t, servertest.Setup{Passwords: queue.options()})
	require.NoError(t, disable(t, w, "bob"))
	page := w.Browser().Get("/login")
	release := queue.fill(t, w)
	defer release()
	for _, name := range []string{"alice", "alicx", "bob"} {
		page.Submit("username", name, "password", wrong).Require(http.StatusServiceUnavailable)
	}
}

func disable(t *testing.T, w *servertest.World, name string) error {
	t.Helper()
	return w.Store.DisableUser(t.Context(), servertest.UserID(name))
}

// plain headers are those that may not differ.
func plain(h http.Header) http.Header {
	h = maps.Clone(h)
	for _, name := range []string{"Date", "X-Request-Id", "Content-Length"} {
		h.Del(name)
	}
	return h
}

func TestSignIn_a_switched_off_account(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("bob")
	require.NoError(t, disable(t, w, "bob"))
	require.False(t, signedIn(t, b), "at once")
	b.Get("/login").Submit("username", "bob", "password", servertest.Password("bob")).Require(http.StatusBadRequest)
	require.False(t, signedIn(t, b))
}

func TestSignIn_nothing_typed_L11(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	page := b.Get("/login")
	for _, pairs := range [][]string{
		{"username", ""},
		{"username", "alice", "password", ""},
		{"username", "", "password", servertest.Password("alice")},
		{"username", "alice", "password", strings.Repeat("x", 5000)},
		{"username", strings.Repeat("x", 5000), "password", wrong},
		{"username", "alice", "decision", "continue"},
	} {
		page.Submit(pairs...).Require(http.StatusBadRequest)
	}
	for _, bad := range []string{"a\x00b", "a\xffb"} {
		page.Submit("username", bad, "password", wrong).Require(http.StatusBadRequest)
		page.Submit("username", "alice", "password", bad).Require(http.StatusBadRequest)
		b.Get("/login?" + servertest.Encode("request", bad)).Require(http.StatusBadRequest)
	}
	page.Submit("username", strings.Repeat("x", 70<<10), "password", wrong).Require(http.StatusRequestEntityTooLarge)
	require.False(t, signedIn(t, b))
}

// Guessing gets slow, and the page says how long. The owner's own browser is not kept out.
func TestSignIn_twenty_wrong_passwords_L08(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		home := w.Browser()
		home.SignIn("alice")
		owner := home.Get("/logout").Submit("decision", "signout").Require(http.StatusOK)
		require.NotContains(t, home.Cookies, sessionCookie, "%s", owner.Body)

		page := w.Browser().Get("/login")
		throttled := 0
		for range 20 {
			if p := page.Submit("username", "alice", "password", wrong); p.Status != http.StatusBadRequest {
				p.Require(http.StatusTooManyRequests)
				throttled++
			}
		}
		require.Equal(t, 20-users.FreeFailures, throttled)
		p := page.Submit("username", "alice", "password", servertest.Password("alice")).Require(http.StatusTooManyRequests)
		require.Equal(t, "1", p.Header.Get("Retry-After"))
		withText(t, p, `id="fault"`)
		require.Equal(t, "alice", p.Form("username").Fields.Get("username"))
		w.TryLogin("c1", "alice").Refused(429, "temporarily_unavailable") // one counter
		w.Login("c1", "bob")

		require.Equal(t, http.StatusSeeOther, home.SignIn("alice").Status, "a known device")
		failures, _, err := w.Store.Throttle(t.Context(), servertest.UserID("alice"))
		require.NoError(t, err)
		require.NotZero(t, failures, "what is guessed elsewhere is not forgiven by it")

		w.Clock.Advance(time.Second)
		page.Submit("username", "alice", "password", servertest.Password("alice")).Require(http.StatusSeeOther)
		failures, _, err = w.Store.Throttle(t.Context(), servertest.UserID("alice"))
		require.NoError(t, err)
		require.Zero(t, failures)
	})
}

// The wait doubles, Retry-After is its seconds, and who comes back then is let through.
func TestSignIn_waits_as_long_as_the_page_says_L08(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	page := w.Browser().Get("/login")
	for range users.FreeFailures - 1 {
		page.Submit("username", "alice", "password", wrong).Require(http.StatusBadRequest)
	}
	for _, wait := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		page.Submit("username", "alice", "password", wrong).Require(http.StatusBadRequest)
		w.Clock.Advance(500 * time.Millisecond)
		p := page.Submit("username", "alice", "password", wrong).Require(http.StatusTooManyRequests)
		require.Equal(t, strconv.Itoa(wait), p.Header.Get("Retry-After"), "rounded up")
		w.Clock.Advance(time.Duration(wait) * time.Second)
	}
	page.Submit("username", "alice", "password", servertest.Password("alice")).Require(http.StatusSeeOther)
}

// A device is known for who signed in there, by a cookie that nobody else can make.
func TestSignIn_a_device_is_known_for_its_own_users(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	home := w.Browser()
	home.SignIn("bob") // never alice
	page := w.Browser().Get("/login")
	for range 12 {
		page.Submit("username", "alice", "password", wrong)
	}
	status := func(b *servertest.Browser) int {
		form := b.Get("/login")
		if form.Status != http.StatusOK {
			delete(b.Cookies, sessionCookie)
			form = b.Get("/login")
		}
		return form.Submit("username", "alice", "password", servertest.Password("alice")).Status
	}
	require.Equal(t, http.StatusTooManyRequests, status(home))
	require.Equal(t, http.StatusTooManyRequests, status(w.Browser()))
	forged := w.Browser()
	for _, value := range []string{"evil", "gd1_evil", `{"id":"x","form":"y","users":["id-of-alice"]}`, home.Cookies[deviceCookie].Value + "A"} {
		forged.Cookies[deviceCookie] = &http.Cookie{Name: deviceCookie, Value: value}
		require.Equal(t, http.StatusTooManyRequests, status(forged), value)
	}
	_, err := w.Store.UnlockUser(t.Context(), servertest.UserID("alice"))
	require.NoError(t, err)
	require.Equal(t, http.StatusSeeOther, status(home))

	// What is guessed at a known device counts there, and nowhere else.
	delete(home.Cookies, sessionCookie)
	page = home.Get("/login")
	for range users.FreeFailures {
		page.Submit("username", "alice", "password", wrong).Require(http.StatusBadRequest)
	}
	page.Submit("username", "alice", "password", servertest.Password("alice")).Require(http.StatusTooManyRequests)
	require.Equal(t, http.StatusSeeOther, status(w.Browser()), "the account is not kept from its owner elsewhere")
	page.Submit("username", "bob", "password", servertest.Password("bob")).Require(http.StatusSeeOther)
}

// One address, many names: L-08's other half. Whoever is elsewhere does not notice.
func TestSignIn_an_address_is_slowed_down_L14(t *testing.T) {
	t.Parallel()
	w := proxied(t)
	home := at(w, "203.0.113.9")
	home.SignIn("alice")
	guess := func(address string, n int) {
		page := at(w, address).Get("/login")
		for i := range n {
			page.Submit("username", fmt.Sprintf("%s-%d", address, i), "password", wrong).Require(http.StatusBadRequest)
		}
	}
	status := func(b *servertest.Browser, user string) int {
		return b.Get("/login").Submit("username", user, "password", servertest.Password(user)).Status
	}
	guess("203.0.113.9", users.FreeAddressFailures)
	require.Equal(t, http.StatusTooManyRequests, status(at(w, "203.0.113.9"), "bob"))
	require.Equal(t, http.StatusTooManyRequests, status(at(w, "1.1.1.1, 203.0.113.9"), "bob"), "what it claims to be is not believed")
	require.Equal(t, http.StatusTooManyRequests, status(at(w, "::ffff:203.0.113.9"), "bob"))
	require.Equal(t, http.StatusSeeOther, status(at(w, "203.0.113.10"), "bob"))
	delete(home.Cookies, sessionCookie)
	require.Equal(t, http.StatusSeeOther, status(home, "alice"), "a known device shares the address")

	guess("2001:db8:1:2::1", users.FreeAddressFailures)
	require.Equal(t, http.StatusTooManyRequests, status(at(w, "2001:db8:1:2:ffff::7"), "bob"), "one household has 64 bits")
	require.Equal(t, http.StatusSeeOther, status(at(w, "2001:db8:1:3::1"), "bob"))
	unlocked, err := w.Store.UnlockAddress(t.Context(), "203.0.113.9")
	require.NoError(t, err)
	require.True(t, unlocked)
	require.Equal(t, http.StatusSeeOther, status(at(w, "203.0.113.9"), "bob"))
}

func TestSignIn_a_forwarded_address_is_nothing_without_a_proxy_L14(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	page := b.Get("/login")
	for i := range users.FreeAddressFailures {
		b.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
		b.Header.Set("X-Real-Ip", fmt.Sprintf("203.0.113.%d", i))
		b.Header.Set("Forwarded", fmt.Sprintf("for=203.0.113.%d", i))
		page.Submit("username", fmt.Sprintf("nobody-%d", i), "password", wrong).Require(http.StatusBadRequest)
	}
	b.Header.Set("X-Forwarded-For", "203.0.113.250")
	page.Submit("username", "bob", "password", servertest.Password("bob")).Require(http.StatusTooManyRequests)
}

func TestSignIn_when_the_server_is_busy(t *testing.T) {
	t.Parallel()
	queue := newBusy()
	w := servertest.New(t, servertest.Setup{Passwords: queue.options()})
	b := w.Browser()
	page := b.Get("/login")
	release := queue.fill(t, w)
	defer release()
	p := page.Submit("username", "alice", "password", servertest.Password("alice")).Require(http.StatusServiceUnavailable)
	require.Equal(t, "2", p.Header.Get("Retry-After"))
	require.Equal(t, "alice", p.Form("username").Fields.Get("username"))
	release()
	p.Submit("username", "alice", "password", servertest.Password("alice")).Require(http.StatusSeeOther)
}

// A hash from elsewhere, or with an older price, is replaced while its password is at
// hand. That changes the account, and must not look like a change that ends the sign-in.
func TestSignIn_with_an_outdated_hash(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		cheap, err := users.NewPasswords(users.PasswordOptions{Memory: 32, Time: 1, Threads: 1, Rand: zeros{}})
		require.NoError(t, err)
		hash, err := cheap.Hash(t.Context(), servertest.Password("alice"))
		require.NoError(t, err)
		_, err = w.Store.SetPassword(t.Context(), servertest.UserID("alice"), hash, false)
		require.NoError(t, err)
		b := w.Browser()
		b.SignIn("alice")
		require.True(t, signedIn(t, b))
		w.Browser().SignIn("alice")
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A sign-in has an end, whatever is done with it.
func TestSignIn_ends_after_its_lifetime(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	w.Clock.Advance(7*24*time.Hour - time.Second)
	require.True(t, signedIn(t, b))
	w.Clock.Advance(time.Second)
	require.False(t, signedIn(t, b))
	b.Get("/login").Submit("username", "alice", "password", servertest.Password("alice")).Require(http.StatusSeeOther)
	require.True(t, signedIn(t, b))
}

// The form sent twice at once, or from two tabs: whichever cookie the browser keeps works.
func TestSignIn_Concurrent_twice(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		home := w.Browser()
		home.SignIn("alice")
		token := formToken(t, home)
		results := make(chan *servertest.Browser, 8)
		var all sync.WaitGroup
		for range 8 {
			b := copyOf(w, home)
			all.Go(func() {
				b.Post("/login", "csrf_token", token, "username", "alice", "password", servertest.Password("alice")).Require(http.StatusSeeOther)
				results <- b
			})
		}
		all.Wait()
		for range 8 {
			require.True(t, signedIn(t, <-results))
		}
		require.False(t, signedIn(t, home), "the cookie from before is dead")
	})
}
