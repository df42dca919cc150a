package main

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
)

const smallSVG = `<?xml version="1.0"?><!-- ours --><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0h1v1z"/></svg>`

// pictures are the smallest of each kind, by the name that they may have.
func pictures(t *testing.T) map[string][]byte {
	t.Helper()
	var p, j bytes.Buffer
	dot := image.NewGray(image.Rect(0, 0, 1, 1))
	require.NoError(t, png.Encode(&p, dot))
	require.NoError(t, jpeg.Encode(&j, dot, nil))
	return map[string][]byte{
		".svg": []byte(smallSVG), ".png": p.Bytes(), ".jpg": j.Bytes(), ".jpeg": j.Bytes(),
		".webp": []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"),
	}
}

func TestReadLogo(t *testing.T) {
	dir := t.TempDir()
	read := func(name string, content []byte) (logo, error) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return readLogo(config.Config{DisplayLogo: path})
	}
	for ending, content := range pictures(t) {
		picture, err := read("logo"+ending, content)
		require.NoError(t, err, ending)
		require.Equal(t, content, picture.content)
		require.Equal(t, config.LogoType("x"+ending), picture.mediaType)
	}
	none, err := readLogo(config.Config{})
	require.NoError(t, err)
	require.Empty(t, none)
	large := append(pictures(t)[".png"], make([]byte, maxLogo)...)
	_, err = read("just.png", large[:maxLogo])
	require.NoError(t, err)

	for name, c := range map[string]struct {
		file    string
		content []byte
		says    string
	}{
		"a byte too large":      {"big.png", large[:maxLogo+1], "larger than 64 KiB"},
		"another kind":          {"a.png", pictures(t)[".jpg"], "is not the picture that its name promises, image/png"},
		"SVG as PNG":            {"b.png", []byte(smallSVG), "image/png"},
		"PNG as SVG":            {"c.svg", pictures(t)[".png"], "image/svg+xml"},
		"HTML as SVG":           {"d.svg", []byte("<html><svg></svg></html>"), "image/svg+xml"},
		"broken SVG":            {"e.svg", []byte("<svg><path>"), "image/svg+xml"},
		"SVG with more behind":  {"f.svg", []byte("<svg></svg><"), "image/svg+xml"},
		"empty":                 {"g.svg", nil, "image/svg+xml"},
		"a text that names SVG": {"h.svg", []byte("svg"), "image/svg+xml"},
		"a secret":              {"i.webp", []byte("RIFF of a secret"), "image/webp"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(c.file, c.content)
			var faults config.Faults
			require.ErrorAs(t, err, &faults)
			require.ErrorContains(t, err, c.says)
			require.Contains(t, faults[0].Hint, "64 KiB")
			require.Equal(t, "display_logo", faults[0].Setting)
			require.False(t, strings.Contains(err.Error(), "secret"), "the content is not quoted")
		})
	}
	_, err = readLogo(config.Config{DisplayLogo: filepath.Join(dir, "none.png")})
	require.ErrorContains(t, err, "does not exist")
	_, err = readLogo(config.Config{DisplayLogo: dir})
	require.ErrorContains(t, err, "is not a plain file")
}
