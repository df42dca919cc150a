package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"

	"github.com/grantorhq/grantor/config"
)

// maxLogo keeps every page small: the logo is on each.
const maxLogo = 64 << 10

// logo is the picture of the setting display_logo; its zero value is none.
type logo struct {
	content   []byte
	mediaType string
}

// readLogo reads the picture and wants it to be what its name says: browsers are told
// not to guess (X-Content-Type-Options), so a wrong type would be no picture at all.
// What is wrong is a fault of the setting.
func readLogo(cfg config.Config) (logo, error) {
	if cfg.DisplayLogo == "" {
		return logo{}, nil
	}
	promised := config.LogoType(cfg.DisplayLogo)
	content, err := readPicture(cfg.DisplayLogo)
	if err == nil && pictureType(content) != promised {
		err = errors.New("is not the picture that its name promises, " + promised)
	}
	if err != nil {
		return logo{}, config.Faults{{
			Setting: "display_logo", Origin: cfg.Origin("display_logo"),
			Problem: fmt.Sprintf("%q %v", cfg.DisplayLogo, err), Hint: "name an SVG, PNG, JPEG or WebP file of at most 64 KiB that grantor may read",
		}}
	}
	return logo{content: content, mediaType: promised}, nil
}

func readPicture(path string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("does not exist")
	case errors.Is(err, fs.ErrPermission):
		return nil, errors.New("may not be read")
	case err != nil:
		return nil, fmt.Errorf("can not be read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("can not be read: %w", err)
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a plain file")
	}
	content, err := io.ReadAll(io.LimitReader(f, maxLogo+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("can not be read: %w", err)
	case len(content) > maxLogo:
		return nil, errors.New("is larger than 64 KiB")
	}
	return content, nil
}

// pictureType is what the content is: an XML document whose root is svg, or what the
// sniffing standard finds in its first bytes.
func pictureType(content []byte) string {
	if isSVG(content) {
		return "image/svg+xml"
	}
	return http.DetectContentType(content)
}

func isSVG(content []byte) bool {
	d := xml.NewDecoder(bytes.NewReader(content))
	root := ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root == "svg"
		}
		if err != nil {
			return false
		}
		if start, ok := token.(xml.StartElement); ok && root == "" {
			root = start.Name.Local
		}
	}
}
