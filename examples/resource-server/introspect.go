package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// introspector asks the issuer about a token (RFC 7662).
type introspector struct {
	metadata     *metadata
	audience     string
	clientID     string
	clientSecret string
}

func (i introspector) check(ctx context.Context, token string) (caller, error) {
	if i.clientID == "" || i.clientSecret == "" {
		return caller{}, errors.New("/introspected needs CLIENT_ID and CLIENT_SECRET of a client that may introspect (grantor client create --resource-server)")
	}
	endpoint, err := i.metadata.introspection(ctx)
	if err != nil {
		return caller{}, err
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return caller{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(i.clientID), url.QueryEscape(i.clientSecret)) // RFC 6749 section 2.3.1
	var answer struct {
		Active    bool     `json:"active"`
		TokenType string   `json:"token_type"`
		Issuer    string   `json:"iss"`
		Audience  audience `json:"aud"`
		Subject   string   `json:"sub"`
		ClientID  string   `json:"client_id"`
		Scope     string   `json:"scope"`
		Expires   int64    `json:"exp"`
	}
	if err := send(i.metadata.client, request, &answer); err != nil {
		return caller{}, err
	}
	// A refresh token can be active too, and has no token type.
	if !answer.Active || !strings.EqualFold(answer.TokenType, "Bearer") {
		return caller{}, errToken
	}
	if answer.Issuer != i.metadata.issuer || !slices.Contains(answer.Audience, i.audience) {
		return caller{}, errToken
	}
	return caller{Subject: answer.Subject, ClientID: answer.ClientID, Scope: answer.Scope, Expires: time.Unix(answer.Expires, 0).UTC()}, nil
}

// audience is one string or several: RFC 7519 section 4.1.3.
type audience []string

func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}
