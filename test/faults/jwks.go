//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// fetchKeys asks for the JWKS of whichever replica has its turn.
func (st *stage) fetchKeys(ctx context.Context) (set jose.JSONWebKeySet, by string, err error) {
	ctx, cancel := context.WithTimeout(ctx, st.patience())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+st.front.address+"/.well-known/jwks.json", nil)
	if err != nil {
		return set, "", err
	}
	response, err := st.browser.Do(request)
	if err != nil {
		return set, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return set, "", err
	}
	if response.StatusCode != http.StatusOK {
		return set, "", errNobody
	}
	return set, response.Header.Get(servedBy), json.Unmarshal(body, &set)
}

func verify(token string, set jose.JSONWebKeySet) error {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		return err
	}
	keys := set.Key(signed.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		return fmt.Errorf("%d keys with its name among %d", len(keys), len(set.Keys))
	}
	_, err = signed.Verify(keys[0])
	return err
}
