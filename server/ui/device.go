package ui

import "strings"

// deviceOn stands between the browser and its system in what Device says.
const deviceOn = " on "

// The order matters: most browsers name others too, so that old sites let them in.
var (
	browsers = []struct{ mark, name string }{
		{"Edg/", "Edge"},
		{"EdgA/", "Edge"},
		{"EdgiOS/", "Edge"},
		{"OPR/", "Opera"},
		{"OPT/", "Opera"},
		{"Vivaldi/", "Vivaldi"},
		{"YaBrowser/", "Yandex Browser"},
		{"SamsungBrowser/", "Samsung Internet"},
		{"Firefox/", "Firefox"},
		{"FxiOS/", "Firefox"},
		{"Chromium/", "Chromium"},
		{"CriOS/", "Chrome"},
		{"HeadlessChrome/", "Chrome"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
	}
	systems = []struct{ mark, name string }{
		{"iPhone", "iPhone"},
		{"iPad", "iPad"},
		{"Android", "Android"},
		{"CrOS", "ChromeOS"},
		{"Windows", "Windows"},
		{"Macintosh", "macOS"},
		{"FreeBSD", "FreeBSD"},
		{"OpenBSD", "OpenBSD"},
		{"Linux", "Linux"},
	}
)

// Device names a browser by its User-Agent header, as in "Firefox on Linux"; "" when it
// is nothing we know. It is a hint for a person who looks for a sign-in that is not
// theirs, and says only words of ours: anybody may send anything in that header. What
// session.AgentOf leaves out of it may be missing.
func Device(userAgent string) string {
	const most = 1024
	if len(userAgent) > most || !strings.HasPrefix(strings.TrimPrefix(userAgent, "Mozilla/5.0 "), "(") {
		return ""
	}
	browser, system := "", ""
	for _, known := range browsers {
		if strings.Contains(userAgent, known.mark) {
			browser = known.name
			break
		}
	}
	for _, known := range systems {
		if strings.Contains(userAgent, known.mark) {
			system = known.name
			break
		}
	}
	switch {
	case browser == "" || system == "":
		return browser + system
	default:
		return browser + deviceOn + system
	}
}
