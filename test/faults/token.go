//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
)

// refresh is a refresh token with what anybody can read off it. The layout is that of
// package grants, read here a second time: a checker that called the code it checks
// would share its mistakes.
type refresh struct {
	text       string
	grant      string // id, in hexadecimal as the database shows it
	generation int64
}

const (
	refreshPrefix = "gr1_"
	refreshLength = 84
)

var errNotRefresh = errors.New("not a refresh token")

func readRefresh(text string) (refresh, error) {
	encoded, ok := strings.CutPrefix(text, refreshPrefix)
	if !ok || len(text) != refreshLength {
		return refresh{}, errNotRefresh
	}
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(raw) != 60 {
		return refresh{}, errNotRefresh
	}
	return refresh{text: text, grant: hex.EncodeToString(raw[4:20]), generation: int64(binary.BigEndian.Uint64(raw[20:28]))}, nil
}

// readCode reads the grant off an authorization code, whose layout is the same.
func readCode(text string) (grant string, err error) {
	encoded, ok := strings.CutPrefix(text, "gc1_")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil || len(raw) != 60 {
		return "", errors.New("not a code")
	}
	return hex.EncodeToString(raw[4:20]), nil
}

// fingerprint stands for a token in the journal: it lets nobody in.
func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// claims are those of a JWT access token that say whose it is. The signature is the
// business of verify.
type claims struct {
	Subject string `json:"sub"`
	Client  string `json:"client_id"`
	Nonce   string `json:"nonce"`
}

func readClaims(token string) (c claims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("not a JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(raw, &c)
}
