package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

var errNoObject = errors.New("is not one JSON object")

// checkMembers wants one object with known members, each exactly written and there
// once. encoding/json would take "SUB" for "sub", and the last of two.
func checkMembers(line []byte) error {
	d := json.NewDecoder(bytes.NewReader(line))
	if err := checkObject(d, importMembers, "", func(name string) error {
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return errNoObject
		}
		if name != "address" || !bytes.HasPrefix(value, []byte("{")) {
			return nil
		}
		inner := json.NewDecoder(bytes.NewReader(value))
		return checkObject(inner, addressMembers, "address.", func(string) error {
			return inner.Decode(new(json.RawMessage))
		})
	}); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errNoObject
	}
	return nil
}

func checkObject(d *json.Decoder, known []string, prefix string, value func(name string) error) error {
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return errNoObject
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return errNoObject
		}
		if !slices.Contains(known, name) {
			return unknownMember(prefix, name)
		}
		if seen[name] {
			return fmt.Errorf("member %q is there twice", prefix+name)
		}
		seen[name] = true
		if err := value(name); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return errNoObject
	}
	return nil
}

func unknownMember(prefix, name string) error {
	if hint, ours := serverMembers[name]; ours && prefix == "" {
		if hint == "" {
			return fmt.Errorf("member %q is for the server to say, leave it out", name)
		}
		return fmt.Errorf("member %q is for the server to say, %s", name, hint)
	}
	if len(name) > 64 {
		name = "(long)"
	}
	return fmt.Errorf("unknown member %q", prefix+name)
}
