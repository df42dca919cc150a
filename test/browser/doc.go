// Package browser drives the whole program with a real browser: headless Chromium,
// the real binary, and applications that know nothing of ours. It holds only tests.
//
//	sign_in_test.go    login, consent, code, tokens of a stranger's application; wrong passwords
//	consent_test.go    denied, allowed before, another account
//	script_test.go     the same without JavaScript and by keyboard; form_post both ways
//	spa_test.go        examples/spa and examples/resource-server beside the real server
//	cookies_test.go    on https: what a script can not read, and where no token is
//	account_test.go    the account page ends what is somewhere else
//	pages_test.go      every page, light, dark and narrow, as pictures to look at
//
// What the tests stand on: chromium_test.go finds and starts the browser, tab_test.go is
// one tab (open, fill, click, text, shot), program_test.go builds and runs the binaries,
// world_test.go is one database with a server on it, front_test.go is the proxy before
// it, relying_party_test.go is the stranger's application.
//
// Every tab listens to its console: what a Content-Security-Policy refused, and any
// error of a script, fails the test. A wait has a condition; nothing sleeps and hopes.
//
// The environment of the test process:
//
//	CHROME_BIN              the browser, instead of chromium, chromium-browser or google-chrome in PATH
//	GRANTOR_TEST_REQUIRE    with "browser" in it, a missing browser fails instead of skips
//	GRANTOR_TEST_ARTEFACTS  the folder for the pictures, absolute (default: gone with the test)
package browser
