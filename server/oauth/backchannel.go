package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
)

// Bounds of telling clients about a logout. A notice that nobody takes is given up
// after the last try, about two hours later: until then the client was told as often as helps.
const (
	logoutTokenLife = 2 * time.Minute
	noticesAtOnce   = 20
	noticeLease     = time.Minute // longer than one delivery can take
	noticeTries     = 10
	firstNoticeWait = 15 * time.Second // doubles with each try
	noticesLookedAt = 15 * time.Second // for those of other replicas, and retries
)

// LogoutsDue says that there are notices to deliver now.
func (h *Handler) LogoutsDue() {
	select {
	case h.due <- struct{}{}:
	default: // one look takes them all
	}
}

// DeliverLogouts tells clients about sign-ins that ended, until ctx ends: OpenID
// Connect Back-Channel Logout section 2.5. A notice is a row, so neither a restart nor
// a client that is down for a while loses it, and any replica may deliver it.
func (h *Handler) DeliverLogouts(ctx context.Context) {
	ticker := time.NewTicker(noticesLookedAt)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if h.deliver(ctx) == noticesAtOnce {
			continue
		}
		select {
		case <-ctx.Done():
		case <-h.due:
		case <-ticker.C:
		}
	}
}

// deliver takes what is due, and counts it.
func (h *Handler) deliver(ctx context.Context) int {
	notices, err := h.Store.ClaimLogoutNotices(ctx, noticesAtOnce, noticeLease)
	if err != nil {
		if ctx.Err() == nil {
			h.Log.WarnContext(ctx, "logout notices were not read", "error", err)
		}
		return 0
	}
	told := make(chan struct{}, len(notices))
	for _, n := range notices {
		go func() {
			defer func() { told <- struct{}{} }()
			h.settle(ctx, n)
		}()
	}
	for range notices {
		<-told
	}
	return len(notices)
}

// settle delivers one notice, and forgets it or says when to try its client again.
func (h *Handler) settle(ctx context.Context, n storage.LogoutNotice) {
	err := h.notify(ctx, n)
	switch {
	case err == nil:
		h.told.delivered.Add(1)
		// Also when the process ends just now: the client would be told again.
		err = h.Store.DeleteLogoutNotice(context.WithoutCancel(ctx), n.ID)
	case ctx.Err() != nil:
		return // the lease runs out, and another replica goes on
	case n.Attempts >= noticeTries:
		h.told.failed.Add(1)
		h.told.givenUp.Add(1)
		h.Log.WarnContext(ctx, "logout was not told to a client, given up", "client", n.ClientID, "tries", n.Attempts, "error", err)
		// Its client's others wait as well, or they would all be tried and given up one batch after the other.
		err = errors.Join(h.Store.DeleteLogoutNotice(ctx, n.ID), h.Store.RetryLogoutNotices(ctx, n, h.Now().Add(firstNoticeWait)))
	default:
		h.told.failed.Add(1)
		wait := firstNoticeWait << max(n.Attempts-1, 0)
		h.Log.InfoContext(ctx, "logout was not told to a client yet", "client", n.ClientID, "tries", n.Attempts, "next", wait, "error", err)
		err = h.Store.RetryLogoutNotices(ctx, n, h.Now().Add(wait))
	}
	if err != nil && ctx.Err() == nil {
		h.Log.WarnContext(ctx, "logout notice was not settled", "client", n.ClientID, "error", err)
	}
}

// LogoutStats counts tries to tell a client.
type LogoutStats struct{ Delivered, Failed, GivenUp uint64 }

// LogoutStats is what this replica did.
func (h *Handler) LogoutStats() LogoutStats {
	return LogoutStats{Delivered: h.told.delivered.Load(), Failed: h.told.failed.Load(), GivenUp: h.told.givenUp.Load()}
}

// notify posts the logout token. Any answer but 2xx is a failure (section 2.8); a
// redirect is one too, and is not followed.
func (h *Handler) notify(ctx context.Context, n storage.LogoutNotice) error {
	client, err := h.Store.RegisteredClient(ctx, n.ClientID)
	if errors.Is(err, clients.ErrNotFound) || err == nil && client.Client.BackchannelLogoutURI == "" {
		return nil // nobody is left to be told
	}
	if err != nil {
		return err
	}
	token, err := h.logoutToken(n, client.Client, h.Now())
	if err != nil {
		return err
	}
	body := url.Values{"logout_token": {token}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, client.Client.BackchannelLogoutURI, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("make logout request: %w", err)
	}
	r.Header.Set("Content-Type", formType)
	answer, err := h.Outbound.Do(r)
	if err != nil {
		return fmt.Errorf("send logout token: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("send logout token: the client answered %d", answer.StatusCode)
	}
	return nil
}

// logoutToken is OpenID Connect Back-Channel Logout section 2.4, signed as the client's
// ID tokens are.
func (h *Handler) logoutToken(n storage.LogoutNotice, c *clients.Client, now time.Time) (string, error) {
	claims := map[string]any{
		"iss": h.Issuer, "sub": n.UserID, "aud": c.ID, "iat": now.Unix(), "exp": now.Add(logoutTokenLife).Unix(), "jti": n.ID.String(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": struct{}{}},
	}
	if n.BrowserID != (grants.ID{}) {
		claims["sid"] = n.BrowserID.String()
	}
	return h.signJWT(keys.TypeLogoutToken, orAlg(c.IDTokenAlg), claims, now)
}
